"""The report of `aurora evaluate`: one HTML page that holds its pictures."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aurora_release import atomic
from aurora_release.evaluate import overview, pictures
from aurora_release.evaluate.compare import Comparison
from aurora_release.page import render

FILE = "report.html"


def write(
    folder: Path,
    models: overview.Models,
    base: str | None,
    comparisons: Mapping[str, Sequence[Comparison]],
) -> None:
    """Write `report.html`, and its pictures as PNGs beside it."""
    page = render(
        "train/templates/evaluation.html.j2",
        models=list(models),
        subjects=[_subject(name, found) for name, found in models.items()],
        values=list(_values(models, comparisons)),
        left_out=overview.left_out(models),
        base=base,
        changes=[row for name, found in comparisons.items() for row in _rows(name, found)],
        sentences=[
            overview.sentence(base or "", name, found) for name, found in comparisons.items()
        ],
        images=[
            (path.stem, base64.b64encode(path.read_bytes()).decode())
            for path in _draw(folder, models, base, comparisons)
        ],
    )
    atomic.write_text(folder / FILE, page)


def _subject(name: str, found: Mapping[str, Any]) -> tuple[str, str, str]:
    digests = (found["model"]["sha256"], found["template"])
    weights, template = (digest[:16] if digest else "not known" for digest in digests)
    return name, weights, template


def _values(
    models: overview.Models, comparisons: Mapping[str, Sequence[Comparison]]
) -> Iterator[tuple[str, str, list[tuple[str, Comparison | None]]]]:
    """Yield set, measure, and the value of each model with what changed from the base."""
    changed = {
        (name, each.what, each.measure): each
        for name, found in comparisons.items()
        for each in found
    }
    for what, measure, cells in overview.grid(models):
        values = [overview.value(cell, measure) for cell in cells]
        changes = [changed.get((name, what, measure)) for name in models]
        yield what, measure, list(zip(values, changes, strict=True))


def _rows(name: str, found: Sequence[Comparison]) -> Iterator[dict[str, Any]]:
    for each in found:
        *cells, verdict = overview.cells(each)
        yield {
            "what": each.what, "measure": each.measure, "model": name, "cells": cells,
            "verdict": verdict, "broken": verdict == "worse",
        }  # fmt: skip


def _draw(
    folder: Path,
    models: overview.Models,
    base: str | None,
    comparisons: Mapping[str, Sequence[Comparison]],
) -> Iterator[Path]:
    """Draw what there is to draw and yield the files."""
    for text, file in ((True, "bits-per-byte.png"), (False, "answers.png")):
        found = {
            name: [each for each in all_of if (each.measure == "bits per byte") == text]
            for name, all_of in comparisons.items()
        }
        if any(found.values()):
            pictures.changes(found, base or "", folder / file)
            yield folder / file
    if any(row for found in models.values() for row in found.get("choice", {})):
        pictures.choices(models, folder / "choices.png")
        yield folder / "choices.png"
