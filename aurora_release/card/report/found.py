"""What a report is made of: the evidence of a finished run, of a release, or of a run under way."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aurora_release import evidence
from aurora_release.card import chain as chains
from aurora_release.card import check, derived
from aurora_release.card.chain import Chain
from aurora_release.errors import AuroraError
from aurora_release.recipe import Recipe

_JOURNAL = "metrics.jsonl"


@dataclass(frozen=True)
class Found:
    """Evidence, and what of it is no longer so."""

    chain: Chain
    measured: Mapping[str, Any]
    """What the release worked out of the evidence: gates, intervals, comparisons."""
    links: Mapping[str, str] | None
    """SHA-256 of the evidence the release was made from, by stage; None before there is one."""
    journals: Mapping[str, list[dict[str, Any]]]
    """The lines of metrics.jsonl of each training stage that kept it, as its evidence names it."""
    notes: list[str]
    """A sentence for each thing that a reader must know first."""


def finished(folder: Path) -> Found:
    """Return what there is in a release folder, or in the folder of a run that has a release.

    Raises:
        AuroraError: there is no release, or its evidence is not what aurora writes.
    """
    release = folder if (folder / chains.RECIPE).is_file() else folder / "release"
    if not (release / chains.RECIPE).is_file():
        raise AuroraError(
            f"{folder} has no release: name a release, a finished run such as runs/demo, or say "
            "with --recipe which recipe the run is made of."
        )
    chain = chains.read(release)
    top = chains.statement(release / evidence.FILE).predicate
    notes = [*check.stale(release, chain), *chains.breaks(chain, top.previous)]
    journals, changed = _journals(folder, chain) if release != folder else ({}, [])
    return Found(chain, top.measured, top.previous, journals, [*notes, *changed])


def under_way(folder: Path, recipe: Recipe, stages: Iterable[str]) -> Found:
    """Return what the stages of a run have left so far; `stages` are those of the recipe.

    Raises:
        AuroraError: there is none, or their evidence is not what aurora writes.
    """
    names = [name for name in stages if name != "release"]
    files = {name: folder / name / evidence.FILE for name in names}
    chain = chains.gather(recipe, {name: path for name, path in files.items() if path.is_file()})
    if not chain.stages:
        raise AuroraError(f"{folder} holds no evidence of {recipe.name}: `aurora run` makes it.")
    journals, changed = _journals(folder, chain)
    undone = [name for name in names if name not in chain.stages]
    notes = ["This run has no release yet: read from the evidence of its stages.",
             *([f"Not done: {', '.join(undone)}."] if undone else [])]  # fmt: skip
    measured = evidence.plain(derived.derive(chain))
    return Found(chain, measured, None, journals, [*notes, *_loose(chain), *changed])


def _loose(chain: Chain) -> list[str]:
    """Return a sentence for each stage that was made from another one than lies there."""
    return [
        f"{name} was made from another {parent} than the run holds now: `aurora run` mends it."
        for name, stage in chain.stages.items()
        for parent, digest in stage.predicate.previous.items()
        if parent in chain.stages and chain.stages[parent].sha256 != digest
    ]


def _journals(run: Path, chain: Chain) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """Return the metrics that are as their evidence says, and a sentence for each that is not."""
    found, changed = {}, []
    for name in (stage.name for stage in chain.recipe.train.stages if stage.name in chain.stages):
        path, stated = run / name / _JOURNAL, chain.stages[name].subject.get(_JOURNAL)
        if stated is None or not path.is_file():
            continue
        if evidence.sha256_file(path) == stated:
            lines = path.read_text(encoding="utf-8").splitlines()
            found[name] = [json.loads(line) for line in lines]
        else:
            changed.append(f"{name}/{_JOURNAL} is not what its stage wrote and is not shown.")
    return found, changed
