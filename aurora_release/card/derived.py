"""What the release stage works out of the evidence of the others: gates, intervals, comparisons."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aurora_release import gates
from aurora_release.card.chain import Chain


def derive(chain: Chain) -> dict[str, Any]:
    """Return whether each gate holds, the intervals of changes, and comparisons of answers."""
    return {**findings(chain), "intervals": _intervals(chain), "tasks": _tasks(chain)}


def findings(chain: Chain) -> dict[str, Any]:
    """Return whether each gate holds, which needs no numpy."""
    return {
        "gates": [
            {"rule": found.rule, "passed": found.passed, "sentence": found.sentence}
            for found in gates.check(chain.recipe.gates, chain.measured())
        ]
    }


def _intervals(chain: Chain) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return {before: {after: {source: 95 % interval of the change}}}: of every model against the
    base, of every variant against the trained model.
    """
    rows = {
        name.removeprefix("evaluate-"): found["bits_per_byte"]
        for name, found in chain.measured().items()
        if "bits_per_byte" in found
    }
    return {
        before: {
            after: _paired(rows[before], rows[after])
            for after in rows
            if after in chain.variants or (before == "base" and after != "base")
        }
        for before in ("base", chain.final)
        if before in rows
    }


def _tasks(chain: Chain) -> dict[str, list[dict[str, Any]]]:
    """Return {model: comparisons with the base} of answers that are right or wrong."""
    from aurora_release.evaluate.compare import compare

    found = {
        name.removeprefix("evaluate-"): {key: rows.get(key, {}) for key in ("choice", "code")}
        for name, rows in chain.measured().items()
        if rows.get("choice") or rows.get("code")
    }
    base = found.pop("base", {})
    compared = {
        name: [asdict(each) for each in compare(base, rows, chain.recipe.seed)]
        for name, rows in found.items()
    }
    return {name: rows for name, rows in compared.items() if rows}


def _paired(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[float]]:
    from aurora_release.evaluate.compare import paired_change
    from aurora_release.evaluate.table import documents

    return {
        source: list(paired_change(documents(before[source]), documents(after[source]), 0)[1:])
        for source in sorted(before.keys() & after.keys())
        if _sizes(before[source]) == _sizes(after[source]) is not None
    }


def _sizes(row: Mapping[str, Any]) -> Any:
    """Return the bytes of each document; None where only the whole was measured."""
    return row.get("per_document", {}).get("bytes")
