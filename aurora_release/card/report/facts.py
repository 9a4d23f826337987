"""Looks up what a report says: what the card says, and what only a report has room for."""

from collections.abc import Mapping
from typing import Any

from aurora_release.card import facts as card
from aurora_release.card import mixture, safety
from aurora_release.card.chain import Chain, at
from aurora_release.card.report.found import Found
from aurora_release.evaluate.redteam.rates import ALL

Fact = dict[str, Any]


def facts(found: Found) -> Fact:
    """Return the values of the report's template; what is not there is None, or empty."""
    chain = found.chain
    said = card.facts(chain, found.measured)
    mixed = mixture.facts(chain, found.measured)
    ours = {
        "recipe": chain.recipe.model_dump(mode="json"),
        "notes": found.notes,
        "made_from": found.links is not None,
        "kinds": {source.name: source.kind for source in chain.recipe.data.sources},
        "cleaned": mixed["sources"],
        "fertility": mixed["fertility"],
        "rules": mixed["rules"],
        "norms": _norms(found),
        "skipped": _skipped(chain),
        "watched": [watched(stage) for stage in said["forgetting"]],
        "grids": safety.grids(chain),
        "area_grids": safety.area_grids(chain),
        "overall": _overall(said["safety"], chain.final),
        "policy": at(chain, "filter", "measured") or {},
        "links": [_link(chain, name) for name in chain.stages],
        "environments": environments(chain),
    }
    return {**said, **ours, "missing": _missing(chain, {**said, **ours})}


def _norms(found: Found) -> list[Fact]:
    """Return the gradient norm of each step of the stages that kept it, as curves."""
    curves = [
        {"stage": name, "points": [[row["step"], row["gradient_norm"]] for row in rows
                                   if row.get("gradient_norm") is not None]}
        for name, rows in found.journals.items()
    ]  # fmt: skip
    return [curve for curve in curves if curve["points"]]


def _skipped(chain: Chain) -> list[Fact]:
    """Return a row for each stage: the batches that were held back, None where nobody counted."""
    return [
        {"stage": stage.name, "batches": at(chain, stage.name, "measured", "skipped")}
        for stage in chain.recipe.train.stages
    ]


def watched(stage: Mapping[str, Any]) -> Fact:
    """Return the last measurement of each set while a stage trained, with its floor."""
    last, floors = stage["history"][-1], stage["floors"]
    return {
        "stage": stage["stage"],
        "step": last["step"],
        "breaches": stage["breaches"],
        "rows": [
            {"set": name, **row, "floor": floors.get(name, floors.get("*"))}
            for name, row in last["sets"].items()
        ],
    }


def _overall(rows: list[Fact], model: str) -> Fact | None:
    """Return the cell of the released model over all languages."""
    cells = [cell for row in rows if row["language"] == ALL for cell in row["cells"]]
    return next((cell for cell in cells if cell["model"] == model and cell["harmful"]), None)


def _link(chain: Chain, name: str) -> Fact:
    """Return what went into a stage and what came out of it."""
    stage = chain.stages[name]
    return {
        "stage": name,
        "sha256": stage.sha256,
        "previous": stage.predicate.previous,
        "inputs": stage.predicate.inputs,
        "files": dict(sorted(stage.subject.items())),
    }


def environments(chain: Chain) -> list[Fact]:
    """Return each environment that stages were made in, as single values, and those stages."""
    found: list[Fact] = []
    for name, stage in chain.stages.items():
        values = dict(stage.predicate.environment)
        packages = values.pop("packages", None) or {}
        values |= packages if isinstance(packages, Mapping) else {}
        same = next((each for each in found if each["values"] == values), None)
        if same:
            same["stages"].append(name)
        else:
            found.append({"stages": [name], "values": values})
    return found


def _missing(chain: Chain, found: Fact) -> list[str]:
    """Return a sentence for each thing that nobody measured, or that was not kept."""
    names = ", ".join(stage["name"] for stage in found["stages"])
    energy = [stage["energy"] for stage in found["stages"]]
    checks = (
        (not found["curves"], "The loss of training."),
        (not found["norms"], "The gradient norm: it is in metrics.jsonl of the run folder, which a "
         "release does not hold."),
        (any(row["batches"] is None for row in found["skipped"]),
         "Skipped batches, in some stages."),
        (not found["forgetting"], f"Held-out text while {names} trained"
         + (": no train.watch.validate_every in the recipe, so no floor was watched."
            if chain.recipe.train.watch.validate_every is None else ".")),
        (not found["bits"], "Bits per byte of held-out text before and after."),
        (not found["tasks"], "Knowledge, reasoning and code: no task was asked."),
        (not found["grids"], "Attack success and over-refusal."),
        (not found["filter"], "What the server's filter blocks."),
        (bool(chain.variants) and not found["formats"], "What quantization costs."),
        (not all(each and each.get("processor") is not None for each in energy),
         "Energy of the processors, in some stage or all."),
        (any(stage["accelerator"] not in (None, "none") for stage in found["stages"])
         and not all(each and each.get("accelerator") is not None for each in energy),
         "Energy of the accelerators, in some stage or all."),
        (True, "Cost in money. Speed and memory of serving, which no stage of a run measures."),
    )  # fmt: skip
    return [sentence for lacks, sentence in checks if lacks] + [
        f"Safety, not complete: {note}." for note in found["not_asked"]
    ]
