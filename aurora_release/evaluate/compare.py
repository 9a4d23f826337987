"""What changed between two models on the same items, and how sure that is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PARTS = ("bits_per_byte", "choice", "written", "code")
"""What is measured, by kind."""
Documents = Sequence[tuple[float, int]]
"""Bits and bytes of each document, in the same order for every model."""


def change(before: float, after: float) -> float:
    """Return the relative change: 0.1 is a rise of ten percent."""
    return after / before - 1


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a rate; without trials it is all of 0 to 1.

    Source: Wilson (1927), doi:10.1080/01621459.1927.10502953.
    """
    if not n:
        return 0.0, 1.0
    z = 1.959963984540054
    rate, square = successes / n, z * z / n
    middle = rate + square / 2
    half = z * math.sqrt(rate * (1 - rate) / n + square / (4 * n))
    low, high = (middle - half) / (1 + square), (middle + half) / (1 + square)
    # the bound is exact at the ends, where rounding would leave 1e-17
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def paired_change(
    before: Documents, after: Documents, seed: int, rounds: int = 1000
) -> tuple[float, float, float]:
    """Return the relative change of bits per byte and its 95 % interval.

    The interval is a bootstrap over documents, drawn alike for both models, so that what makes
    a document hard for both does not widen it.
    """
    import numpy as np

    assert [size for _, size in before] == [size for _, size in after], "not the same documents"
    old = np.array([bits for bits, _ in before])
    new = np.array([bits for bits, _ in after])
    drawn = np.random.default_rng(seed).integers(0, len(old), (rounds, len(old)))
    changes = new[drawn].sum(1) / old[drawn].sum(1) - 1
    low, high = np.quantile(changes, (0.025, 0.975))
    return change(float(old.sum()), float(new.sum())), float(low), float(high)


def paired_difference(
    before: Sequence[float], after: Sequence[float], seed: int, rounds: int = 1000
) -> tuple[float, float, float]:
    """Return the difference of means and its 95 % interval, a bootstrap over items."""
    import numpy as np

    assert len(before) == len(after), "not the same items"
    differences = np.array(after, dtype=float) - np.array(before, dtype=float)
    drawn = np.random.default_rng(seed).integers(0, len(differences), (rounds, len(differences)))
    low, high = np.quantile(differences[drawn].mean(1), (0.025, 0.975))
    return float(differences.mean()), float(low), float(high)


def mcnemar(before: Sequence[int], after: Sequence[int]) -> float:
    """Return the p-value of McNemar's exact test: of items right (1) in one and wrong (0) in other.

    Source: McNemar (1947), doi:10.1007/BF02295996; two-sided binomial test of the discordant items.
    """
    gained = sum(new > old for old, new in zip(before, after, strict=True))
    lost = sum(new < old for old, new in zip(before, after, strict=True))
    tail = sum(math.comb(gained + lost, count) for count in range(min(gained, lost) + 1))
    return float(min(1.0, 2 * tail / 2 ** (gained + lost)))


@dataclass(frozen=True)
class Comparison:
    """One measure of one set, or of all sets of a language, for two models."""

    what: str
    """The set, or the language."""
    language: str
    measure: str
    """`bits per byte`, `accuracy`, `accuracy per character`, `exact match`, `F1` or `pass@1`."""
    before: float
    after: float
    change: float
    """Relative for bits per byte, in shares of one otherwise."""
    low: float
    high: float
    """The 95 % interval of the change."""
    changed: bool
    """The interval leaves out 0; for right and wrong answers McNemar's p is below 0.05."""
    items: int

    @property
    def better(self) -> bool:
        """Whether the change is to the good: fewer bits, more right answers."""
        return (self.change < 0) == (self.measure == "bits per byte")


def compare(before: Mapping[str, Any], after: Mapping[str, Any], seed: int = 0) -> list[Comparison]:
    """Return what changed in every set that both measured on the same items, then by language.

    `before` and `after` are what evaluations measured. Without any difference between two models,
    each comparison says "changed" in about 5 of 100 cases, whatever the others say.
    """
    parts = [part for name in PARTS for part in _parts(before.get(name, {}), after.get(name, {}))]
    together: dict[tuple[str, str], list[_Part]] = {}
    for part in parts:
        together.setdefault((part.measure, part.language), []).append(part)
    joined = [_join(found) for found in together.values() if len(found) > 1]
    return [_compared(part, seed) for part in (*parts, *joined)]


@dataclass(frozen=True)
class _Part:
    """The items of one measure of one set, as two models have them."""

    what: str
    language: str
    measure: str
    before: Sequence[Any]
    after: Sequence[Any]
    """(bits, bytes) of documents, or how right each item is."""


def _parts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[_Part]:
    """Yield the measures of each set of a kind that both models know on the same items."""
    for name in before:
        old, new = before[name], after.get(name)
        if new is None or old.get("sha256") != new.get("sha256"):
            continue
        olds, news = dict(_items(old)), dict(_items(new))
        for measure in olds:
            yield _Part(name, old["language"], measure, olds[measure], news[measure])


def _items(row: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield each measure of a row with its items."""
    if "per_document" in row:
        each = row["per_document"]
        yield "bits per byte", list(zip(each["bits"], each["bytes"], strict=True))
    elif "accuracy" in row:
        yield "accuracy", row["per_item"]["right"]
        if row["chance"]:
            yield "accuracy per character", row["per_item"]["right_norm"]
    elif "f1" in row:
        yield "exact match", row["per_item"]["exact"]
        yield "F1", row["per_item"]["f1"]
    else:
        yield "pass@1", [passed / row["samples"] for passed in row["per_item"]["passed"]]


def _join(parts: Sequence[_Part]) -> _Part:
    """Return the items of all sets of a language."""
    first = parts[0]
    before = [item for part in parts for item in part.before]
    after = [item for part in parts for item in part.after]
    return _Part(f"all {first.language}", first.language, first.measure, before, after)


def _compared(part: _Part, seed: int) -> Comparison:
    about = {"what": part.what, "language": part.language, "measure": part.measure}
    if part.measure == "bits per byte":
        change, low, high = paired_change(part.before, part.after, seed)
        old, new = (sum(bits for bits, _ in found) for found in (part.before, part.after))
        size = sum(size for _, size in part.before)
        values, changed = (old / size, new / size), not low <= 0 <= high
    else:
        change, low, high = paired_difference(part.before, part.after, seed)
        values = (sum(part.before) / len(part.before), sum(part.after) / len(part.after))
        changed = _surely(part, low, high)
    return Comparison(
        **about, before=values[0], after=values[1], change=change, low=low, high=high,
        changed=changed, items=len(part.before),
    )  # fmt: skip


def _surely(part: _Part, low: float, high: float) -> bool:
    """Return whether right answers changed: McNemar's test; the interval for shares of samples."""
    if all(value in (0, 1) for value in (*part.before, *part.after)):
        return mcnemar(part.before, part.after) < 0.05
    return not low <= 0 <= high
