"""Calibration text: the run's own mixture, as the last training stage saw it."""

from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from aurora_release.data.mixture import Order
from aurora_release.evidence import canonical, sha256
from aurora_release.recipe import Recipe


@dataclass(frozen=True)
class Calibration:
    """Token ids that a method is calibrated on, and where they come from."""

    samples: tuple[tuple[int, ...], ...]
    sources: tuple[str, ...]
    """The source of each sample."""
    documents: tuple[str, ...]
    """Every document that a sample holds a part of."""

    def evidence(self) -> dict[str, Any]:
        """Return what the evidence of a variant says about its calibration."""
        counts = Counter(self.sources)
        return {
            "samples": len(self.samples),
            "tokens": sum(map(len, self.samples)),
            "shares": {name: counts[name] / len(self.samples) for name in sorted(counts)},
            "documents": len(self.documents),
            "ids": sha256(canonical(self.documents)),
            "digest": sha256(canonical(self.samples)),
        }


def calibration(data: Path, recipe: Recipe, count: int) -> Calibration:
    """Return the first `count` samples of the last training stage, without their padding."""
    from aurora_release.data.store import Store

    store = Store(data)
    order = Order(recipe, recipe.train.stages[-1], store.windows)
    places = list(islice(order.places(0), count))
    samples = [store.sample(place.source, place.window) for place in places]
    return Calibration(
        tuple(_unpadded(sample.tokens.tolist(), store.end_of_text) for sample in samples),
        tuple(place.source for place in places),
        tuple(dict.fromkeys(name for sample in samples for name in sample.documents)),
    )


def _unpadded(tokens: list[int], end_of_text: int) -> tuple[int, ...]:
    """Return a sample up to and including its last document's end."""
    end = len(tokens)
    while end > 1 and tokens[end - 1] == tokens[end - 2] == end_of_text:
        end -= 1
    return tuple(tokens[:end])
