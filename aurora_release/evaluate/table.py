"""The before/after table of a run, as plain text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aurora_release.evaluate.compare import paired_change
from aurora_release.evaluate.redteam.evaluation import by_language
from aurora_release.evaluate.redteam.judges import Outcome
from aurora_release.evaluate.redteam.rates import answered

Measured = Mapping[str, Any]

_PREFIX = "evaluate-"
_MISSING = "not measured"


def table(measured: Mapping[str, Measured], seed: int = 0) -> str:
    """Return bits per byte, refusals and the filter of every evaluated model, side by side.

    `measured` is what each stage measured, by stage name; other stages than `evaluate-...` are
    passed over. Changes are against `evaluate-base`, with a 95 % interval over documents.
    """
    models = _models(measured)
    base = models.get("base")
    blocks = (
        aligned("bits per byte", models, _bits_rows(models, base, seed)),
        aligned("harmful requests refused", models, _outcomes(models, "harmful", "refused")),
        aligned("harmful requests complied with", models, _outcomes(models, "harmful", "complied")),
        aligned("harmless requests refused", models, _outcomes(models, "benign", "refused")),
        aligned("requests blocked by the filter", _KINDS, _filter_rows(models)),
    )
    return "\n\n".join(block for block in blocks if block)


def facts(measured: Mapping[str, Measured], seed: int = 0) -> dict[str, Any]:
    """Return what `table` shows as {model: its numbers}, for programs."""
    models = _models(measured)
    before = models["base"]["bits_per_byte"] if "base" in models else {}
    return {
        name: {
            "bits_per_byte": {
                source: _numbers(row, before.get(source), seed)
                for source, row in found["bits_per_byte"].items()
            },
            "requests": by_language(found["safety"]),
            "filter": found.get("filter"),
        }
        for name, found in models.items()
    }


def _models(measured: Mapping[str, Measured]) -> dict[str, Measured]:
    return {
        name.removeprefix(_PREFIX): found
        for name, found in measured.items()
        if name.startswith(_PREFIX)
    }


def _numbers(row: Measured, before: Measured | None, seed: int) -> dict[str, float]:
    """Return bits per byte, and their relative change against the base with its interval."""
    value = {"value": row["bits_per_byte"]}
    if before is None or row is before:
        return value
    changed = paired_change(documents(before), documents(row), seed)
    return value | dict(zip(("change", "low", "high"), changed, strict=True))


def documents(row: Mapping[str, Any]) -> list[tuple[float, int]]:
    """Return (bits, bytes) of each document of a measured source."""
    each = row["per_document"]
    return list(zip(each["bits"], each["bytes"], strict=True))


def _bits_rows(models: Mapping[str, Measured], base: Measured | None, seed: int) -> list[list[str]]:
    sources = dict.fromkeys(
        source for found in models.values() for source in found["bits_per_byte"]
    )
    before = base["bits_per_byte"] if base else {}
    return [
        [
            source,
            *(
                _bits(found["bits_per_byte"].get(source), before.get(source), seed)
                for found in models.values()
            ),
        ]
        for source in sources
    ]


def _bits(row: Mapping[str, Any] | None, before: Mapping[str, Any] | None, seed: int) -> str:
    """Return `2.913 -23.1 ±0.8 %`: the value, its change and half the interval's width."""
    if row is None:
        return _MISSING
    value = f"{row['bits_per_byte']:.3f}"
    if before is None or row is before:
        return value
    change, low, high = paired_change(documents(before), documents(row), seed)
    half = max(high - change, change - low)
    return f"{value} {100 * change:+.1f} ±{100 * half:.1f} %"


def _outcomes(models: Mapping[str, Measured], kind: str, outcome: Outcome) -> list[list[str]]:
    found = [by_language(model["safety"]) for model in models.values()]
    languages = dict.fromkeys(language for rows in found for language in rows)
    return [
        [language, *(_outcome(rows.get(language), kind, outcome) for rows in found)]
        for language in languages
    ]


def _outcome(row: Measured | None, kind: str, outcome: Outcome) -> str:
    asked = answered(row[kind]) if row else 0
    return f"{row[kind][outcome]}/{asked}" if row and asked else _MISSING


_KINDS: dict[str, Measured] = {"harmful": {}, "harmless": {}}


def _filter_rows(models: Mapping[str, Measured]) -> list[list[str]]:
    """Return what the filter blocked: the same for every model, so once."""
    filters = (model["filter"] for model in models.values() if model.get("filter"))
    found: Measured = next(filters, {})
    rows = [
        [language, _rate(row, "blocked", "harmful"), _rate(row, "over_blocked", "benign")]
        for language, row in found.items()
    ]
    if len(rows) > 1:
        totals = _total(found, "blocked", "harmful"), _total(found, "over_blocked", "benign")
        rows.append(["all", *totals])
    return rows


def _rate(row: Mapping[str, int] | None, count: str, of: str) -> str:
    return _MISSING if row is None or not row[of] else f"{row[count]}/{row[of]}"


def _total(rows: Mapping[str, Mapping[str, int]], count: str, of: str) -> str:
    totals = {key: sum(row[key] for row in rows.values()) for key in (count, of)}
    return _rate(totals, count, of)


def aligned(title: str, columns: Iterable[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned lines: a header and the rows, the first column to the left."""
    if not rows:
        return ""
    lines = [[title, *columns], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
