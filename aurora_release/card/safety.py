"""Looks up what a model card says of safety: the pairs, outcomes, the filter, what is missing."""

from collections.abc import Mapping
from typing import Any

from aurora_release.card.chain import Chain, at, down
from aurora_release.evaluate.redteam.evaluation import by_language, missing
from aurora_release.evaluate.redteam.grids import MEASURES, Grid, grid, of_steps
from aurora_release.evaluate.redteam.rates import ALL, rate
from aurora_release.evaluate.redteam.wrappers import PLAIN
from aurora_release.safety.taxonomy import AREAS

Fact = dict[str, Any]

_NO_CELL: Fact = dict.fromkeys(("attack_success", "over_refusal", "harmful", "benign"))


def facts(chain: Chain, models: list[str]) -> Fact:
    """Return the values of the template's section on safety."""
    found = {
        model: report
        for model in models
        if "cells" in (report := at(chain, f"evaluate-{model}", "measured", "safety") or {})
    }
    return {
        "areas": AREAS,
        "pairs": pairs(chain),
        "safety": _outcomes({model: by_language(found[model]) for model in found}, models),
        "by_area": _by_area(found.get(chain.final) or {"cells": []}),
        "loopholes": [
            {"model": model, "rate": down(report, "loopholes", "rate")}
            for model, report in found.items()
        ],
        "wrappers": list(chain.recipe.evaluate.wrappers),
        "answer_tokens": chain.recipe.evaluate.max_new_tokens,
        "not_asked": list(dict.fromkeys(note for each in found.values() for note in missing(each))),
        "filter": filtered(chain),
    }


def _by_area(found: Mapping[str, Any]) -> list[Fact]:
    """Return a row for each area of the taxonomy that a model was asked about, over languages."""
    cells = {
        cell["category"]: cell
        for cell in found["cells"]
        if cell["wrapper"] == PLAIN and cell["language"] == ALL
    }
    return [{"area": AREAS[area], **cells[area]} for area in AREAS if area in cells]


def grids(chain: Chain) -> list[Grid]:
    """Return attack success and over-refusal by model and language, as they are drawn."""
    reports = _reports(chain)
    shown = [MEASURES[measure] for measure in _SHOWN]
    return [grid for grid in of_steps(reports) if grid.title in shown] if reports else []


def area_grids(chain: Chain) -> list[Grid]:
    """Return the same by model and area, over all languages."""
    rows = {
        step: {cell["category"]: cell for cell in found["cells"]
               if cell["wrapper"] == PLAIN and cell["language"] == ALL}
        for step, found in _reports(chain).items()
    }  # fmt: skip
    return [
        grid(MEASURES[measure], "step", {
            step: {area: cell[measure] for area, cell in cells.items() if cell[measure]}
            for step, cells in rows.items()
        })
        for measure in _SHOWN if rows
    ]  # fmt: skip


_SHOWN = ("attack_success", "over_refusal")


def _reports(chain: Chain) -> dict[str, Any]:
    return {
        name.removeprefix("evaluate-"): found["safety"]
        for name, found in chain.measured().items()
        if "cells" in (found.get("safety") or {})
    }


def _outcomes(rows: Mapping[str, Mapping[str, Any]], models: list[str]) -> list[Fact]:
    """Return a row for each language: the cell of each model, of None where not measured."""
    languages = list(dict.fromkeys(language for cells in rows.values() for language in cells))
    return [
        {
            "language": language,
            "cells": [
                {"model": model, **rows.get(model, {}).get(language, _NO_CELL)} for model in models
            ],
        }
        for language in languages
    ]


def filtered(chain: Chain) -> list[Fact]:
    """Return what the filter blocked by language, and over all where there are more."""
    keys = ("harmful", "blocked", "benign", "over_blocked")
    rows = at(chain, f"evaluate-{chain.final}", "measured", "filter") or {}
    table = dict(rows)
    if len(table) > 1:
        table[ALL] = {key: sum(row[key] for row in rows.values()) for key in keys}
    return [
        {
            "language": language,
            "blocked": rate(row["blocked"], row["harmful"]),
            "over_blocked": rate(row["over_blocked"], row["benign"]),
        }
        for language, row in table.items()
    ]


def pairs(chain: Chain) -> Fact | None:
    """Return what the ledgers say of the safety pairs; None where the recipe has no pairs."""
    names = [source.name for source in chain.recipe.data.sources if source.kind == "pairs"]
    if not names:
        return None
    ledgers = [at(chain, "data", "measured", "sources", name, "ledger") for name in names]
    writers = [down(ledger, "writer") for ledger in ledgers]
    areas = [down(ledger, "category") for ledger in ledgers]
    counts = {
        key: [down(ledger, key) for ledger in ledgers]
        for key in ("pairs", "reviewed", "unreviewed")
    }
    return {
        **{key: None if None in each else sum(each) for key, each in counts.items()},
        "by_machine": None if None in writers else sum(row.get("model", 0) for row in writers),
        "areas": {
            area: None if None in areas else sum(row.get(area, 0) for row in areas)
            for area in AREAS
        },
        "elsewhere": None
        if None in areas
        else sum(count for row in areas for area, count in row.items() if area not in AREAS),
    }
