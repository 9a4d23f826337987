"""The report of a stage: its curves as PNGs, and one HTML page that holds everything."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aurora_release import atomic
from aurora_release.page import render
from aurora_release.recipe import TrainStage
from aurora_release.train.watch import pictures
from aurora_release.train.watch.forgetting import breaches, sentence

FILE = "report.html"
FOLDER = "curves"

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Course:
    """What a stage of training has been through so far."""

    title: str
    stage: TrainStage
    steps: int
    """How many the stage has in all."""
    rows: list[dict[str, Any]]
    """The metrics of every step."""
    history: list[dict[str, Any]]
    """Every validation."""
    floors: Mapping[str, float]
    skipped: Rows
    """The record of every bad batch."""
    layouts: Rows
    """What it ran on, and since which step."""


def write(folder: Path, course: Course, state: str) -> None:
    """Write the pictures and `report.html` of a stage as it is now; `state` says how it ended."""
    (folder / FOLDER).mkdir(exist_ok=True)
    images = [
        (path.stem.replace("-", " "), base64.b64encode(path.read_bytes()).decode())
        for path in _draw(course, folder / FOLDER)
    ]
    page = render(
        "train/templates/report.html.j2",
        title=course.title,
        stage=course.stage.name,
        state=state,
        facts=_facts(course),
        sets=list(_sets(course)),
        breaches=[sentence(breach) for line in course.history for breach in line["breaches"]],
        images=images,
        skipped=[_skipped(entry) for entry in course.skipped],
        layouts=[_said(layout) for layout in course.layouts],
    )  # fmt: skip
    atomic.write_text(folder / FILE, page)


def _draw(course: Course, folder: Path) -> Iterator[Path]:
    """Draw what there is to draw and yield the files."""
    if course.history:
        pictures.changes(course.history, course.floors, folder / "gains-and-forgetting.png")
        yield folder / "gains-and-forgetting.png"
    rows = course.rows
    if any(not row["skipped"] for row in rows):
        pictures.loss(rows, folder / "loss.png")
        yield folder / "loss.png"
    for key, title, unit in _CURVES:
        if any(row.get(key) is not None for row in rows):
            path = folder / f"{key.replace('_', '-')}.png"
            pictures.curve(rows, key, title, unit, path)
            yield path


_CURVES = (
    ("learning_rate", "Learning rate", ""),
    ("gradient_norm", "Gradient norm", "before clipping"),
    ("tokens_per_second", "Speed", "tokens/s"),
    ("mfu", "Model FLOPs utilisation", "share of the peak"),
)


def _facts(course: Course) -> list[tuple[str, str]]:
    """Return what one wants to know first."""
    rows, stage = course.rows, course.stage
    losses = [row["loss"] for row in rows if not row["skipped"]]
    facts = [
        ("steps", f"{len(rows):,} of {course.steps:,}"),
        ("tokens", f"{rows[-1]['tokens']:,}" if rows else "0"),
        ("schedule", f"{stage.schedule}, learning rate {stage.learning_rate:g}"),
        ("mixture", ", ".join(f"{name} {100 * share:.3g} %" for name, share in _shares(course))),
        ("replay", ", ".join(stage.replay) or "none"),
    ]
    if losses:
        last = losses[-5:]
        facts.append(("loss", f"{losses[0]:.3f} at first, {sum(last) / len(last):.3f} at last"))
    return facts


def _shares(course: Course) -> list[tuple[str, float]]:
    mixture = course.stage.mixture
    return [(name, weight / sum(mixture.values())) for name, weight in mixture.items()]


def _sets(course: Course) -> Iterator[dict[str, Any]]:
    """Yield the last measurement of every set, as text."""
    if not course.history:
        return
    floors, last = course.floors, course.history[-1]
    over = {breach["set"] for breach in breaches(last, floors)}
    for name, row in last["sets"].items():
        floor = floors.get(name, floors.get("*"))
        low, high = (f"{100 * end:+.1f}" for end in row["interval"])
        verdict = "broken" if name in over else "kept"
        yield {
            "name": name,
            "base": f"{row['bits_per_byte'] / (1 + row['change']):.3f}",
            "now": f"{row['bits_per_byte']:.3f}",
            "change": f"{100 * row['change']:+.1f} %",
            "interval": f"{low} to {high} %",
            "floor": "" if floor is None else f"{100 * floor:+g} %",
            "verdict": "" if floor is None else verdict,
            "broken": name in over,
        }


def _skipped(entry: Mapping[str, Any]) -> dict[str, Any]:
    names: Sequence[str] = [
        f"{sample['source']}: {', '.join(sample['documents'])}" for sample in entry["samples"]
    ]
    return {"step": entry["step"], "why": entry["skipped"], "documents": "; ".join(names)}


def _said(layout: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in layout.items())
