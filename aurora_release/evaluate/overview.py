"""The result of `aurora evaluate` as text: every set, every model, and what changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from aurora_release.evaluate.compare import PARTS, Comparison
from aurora_release.evaluate.table import aligned

Models = Mapping[str, Mapping[str, Any]]
"""What was measured of each model, by name."""


def values(models: Models) -> str:
    """Return a table of every set: bits per byte, share of right answers, pass@k."""
    rows = [
        [f"{name} ({measure})", *(value(found, measure) for found in cells)]
        for name, measure, cells in grid(models)
    ]
    return aligned("set", models, rows)


def grid(models: Models) -> list[tuple[str, str, list[float | None]]]:
    """Return (set, measure, value of each model) for everything that was measured."""
    keys = dict.fromkeys(
        (part, name, measure)
        for found in models.values()
        for part in PARTS
        for name, row in found.get(part, {}).items()
        for measure in _numbers(row)
    )
    return [
        (name, measure, [_at(found, part, name, measure) for found in models.values()])
        for part, name, measure in keys
    ]


def _at(found: Mapping[str, Any], part: str, name: str, measure: str) -> float | None:
    row = found.get(part, {}).get(name)
    return None if row is None else _numbers(row).get(measure)


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Return every measure of a row."""
    if "bits_per_byte" in row:
        return {"bits per byte": row["bits_per_byte"]}
    if "accuracy" in row:
        norm = {"accuracy per character": row["accuracy_norm"]} if row["chance"] else {}
        return {"accuracy": row["accuracy"], **norm}
    if "f1" in row:
        return {"exact match": row["exact"], "F1": row["f1"]}
    return dict(row["pass"])


def value(number: float | None, measure: str) -> str:
    """Return a value as text: bits per byte, or a share in percent."""
    if number is None:
        return "not measured"
    return f"{number:.3f}" if measure == "bits per byte" else f"{100 * number:.1f} %"


def left_out(models: Models) -> list[str]:
    """Return a sentence for every set that a model cannot do."""
    return [
        f"{name} was not measured on {which}: {why[0].lower()}{why[1:]}"
        for name, found in models.items()
        for which, why in found.get("left_out", {}).items()
    ]


def changes(base: str, comparisons: Mapping[str, Sequence[Comparison]]) -> str:
    """Return a table of what changed from the base in each model, and a sentence about it."""
    rows = [
        [f"{each.what} ({each.measure})", name, *cells(each)]
        for name, found in comparisons.items()
        for each in found
    ]
    head = ("model", base, "now", "change", "95 % interval", "")
    sentences = [sentence(base, name, found) for name, found in comparisons.items()]
    return "\n\n".join([aligned("set", head, rows), *sentences])


def cells(each: Comparison) -> list[str]:
    """Return a comparison as text: before, after, change, interval, verdict."""
    unit = "%" if each.measure == "bits per byte" else "points"
    verdict = ("better" if each.better else "worse") if each.changed else "no change"
    return [
        value(each.before, each.measure),
        value(each.after, each.measure),
        f"{100 * each.change:+.1f} {unit}",
        f"{100 * each.low:+.1f} to {100 * each.high:+.1f}",
        verdict,
    ]


def sentence(base: str, name: str, found: Sequence[Comparison]) -> str:
    """Return what was lost and gained, in one sentence."""
    lost = [f"{each.what} ({each.measure})" for each in found if each.changed and not each.better]
    won = [f"{each.what} ({each.measure})" for each in found if each.changed and each.better]
    if not lost and not won:
        return f"{name} against {base}: no change in any of {len(found)} comparisons."
    parts = [f"better in {', '.join(won)}"] if won else []
    parts += [f"worse in {', '.join(lost)}"] if lost else []
    return f"{name} against {base}: {'; '.join(parts)}; no change in the rest of {len(found)}."
