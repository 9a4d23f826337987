"""The order of training: which window of which source is sample number n. A pure function."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from aurora_release.evidence import canonical, sha256
from aurora_release.recipe import Recipe, TrainStage


@dataclass(frozen=True)
class Place:
    """Where a sample lies: the window of a source, and how often the source was read before."""

    source: str
    window: int
    epoch: int


class Blend:
    """Interleaves sources by weight as evenly as integers allow.

    The n-th sample of source k is due at time (n + offset_k) / weight_k; samples are taken in
    order of their due times. All arithmetic is on integers, so any sample number is found by
    bisection without walking there, exactly, however large it is.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        fractions = [Fraction(repr(weight)) for weight in weights]
        whole = math.lcm(*(weight.denominator for weight in fractions))
        shares = [int(weight * whole) for weight in fractions]
        common = math.lcm(*shares)
        self._spacing = [common // share for share in shares]
        self._offsets = range(1, len(shares) + 1)
        self._unit = len(shares) + 1

    def counts(self, samples: int) -> list[int]:
        """Return how many of the first `samples` samples come from each source."""
        due = self._due(samples)
        counts = [self._count(source, due - 1) for source in range(len(self._spacing))]
        for source in range(len(self._spacing)):
            if sum(counts) < samples and self._count(source, due) > counts[source]:
                counts[source] += 1
        return counts

    def source(self, sample: int) -> tuple[int, int]:
        """Return the source of a sample and its number within that source."""
        before, after = self.counts(sample), self.counts(sample + 1)
        source = next(k for k, (b, a) in enumerate(zip(before, after, strict=True)) if a > b)
        return source, before[source]

    def _due(self, samples: int) -> int:
        """Return the earliest time by which `samples` samples are due."""
        low, high = 0, self._unit * max(self._spacing) * (samples + 1)
        while low < high:
            middle = (low + high) // 2
            if self._total(middle) >= samples:
                high = middle
            else:
                low = middle + 1
        return low

    def _total(self, time: int) -> int:
        return sum(self._count(source, time) for source in range(len(self._spacing)))

    def _count(self, source: int, time: int) -> int:
        """Return how many samples of a source are due up to and including `time`."""
        return max(0, (time // self._spacing[source] - self._offsets[source]) // self._unit + 1)


def permute(index: int, size: int, key: str) -> int:
    """Return where `index` goes in a shuffle of range(size) that nobody has to store.

    A four-round Feistel network over the next even number of bits, walked until it falls inside
    the range (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(4):
            digest = hashlib.blake2b(f"{key}:{turn}:{right}".encode(), digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(digest, "big") & mask)
        index = left << half | right
        if index < size:
            return index


class Order:
    """The order of one training stage."""

    def __init__(self, recipe: Recipe, stage: TrainStage, windows: Mapping[str, int]) -> None:
        self._seed = recipe.seed
        self._windows = windows
        self._sources = sorted(stage.mixture)
        self._blend = Blend([stage.mixture[name] for name in self._sources])
        self._read = _read_before(recipe, stage)
        self.samples = recipe.steps(stage) * recipe.train.global_batch
        self.digest = sha256(
            canonical({
                "seed": recipe.seed,
                "mixture": stage.mixture,
                "windows": {name: windows[name] for name in self._sources},
                "read": self._read,
                "samples": self.samples,
            })
        )  # fmt: skip

    def place(self, sample: int) -> Place:
        """Return where sample number `sample` of the stage lies."""
        source, number = self._blend.source(sample)
        name = self._sources[source]
        number += self._read.get(name, 0)
        size = self._windows[name]
        epoch = number // size
        window = permute(number % size, size, f"{self._seed}:{name}:{epoch}")
        return Place(name, window, epoch)

    def counts(self) -> list[int]:
        """Return the samples of the stage by source, in the order of their names."""
        return self._blend.counts(self.samples)

    def epochs(self) -> dict[str, float]:
        """Return how often each source has been read when the stage ends."""
        return {
            name: (self._read.get(name, 0) + count) / self._windows[name]
            for name, count in zip(self._sources, self.counts(), strict=True)
        }


def _read_before(recipe: Recipe, stage: TrainStage) -> dict[str, int]:
    """Return how many windows of each source the stages before this one read."""
    read: dict[str, int] = {}
    for earlier in recipe.train.stages[: recipe.train.stages.index(stage)]:
        names = sorted(earlier.mixture)
        samples = recipe.steps(earlier) * recipe.train.global_batch
        counts = Blend([earlier.mixture[name] for name in names]).counts(samples)
        for name, count in zip(names, counts, strict=True):
            read[name] = read.get(name, 0) + count
    return read
