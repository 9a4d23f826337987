"""The order of training: which window of which source is sample number n. A pure function."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from heapq import heapify, heapreplace
from itertools import islice
from typing import Any

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
    order of their due times. All arithmetic is on integers, so any sample number is found
    without walking there, exactly, however large it is.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        fractions = [Fraction(repr(weight)) for weight in weights]
        whole = math.lcm(*(weight.denominator for weight in fractions))
        shares = [int(weight * whole) for weight in fractions]
        self._shares, self._common = shares, math.lcm(*shares)
        self._spacing = [self._common // share for share in shares]
        self._offsets = range(1, len(shares) + 1)
        self._unit = len(shares) + 1

    def counts(self, samples: int) -> list[int]:
        """Return how many of the first `samples` samples come from each source."""
        counts = self._before(samples)
        for source, _ in islice(self._merge(counts), samples - sum(counts)):
            counts[source] += 1
        return counts

    def walk(self, first: int) -> Iterator[tuple[int, int]]:
        """Yield the source of each sample from `first` on, and its number within that source."""
        return self._merge(self.counts(first))

    def _merge(self, counts: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield (source, number) in order of due times, after `counts` samples of each source."""
        due = [
            ((count * self._unit + offset) * spacing, source, count)
            for source, (count, offset, spacing) in enumerate(
                zip(counts, self._offsets, self._spacing, strict=True)
            )
        ]
        heapify(due)
        while True:
            time, source, number = due[0]
            yield source, number
            heapreplace(due, (time + self._unit * self._spacing[source], source, number + 1))

    def _before(self, samples: int) -> list[int]:
        """Return how many samples of each source are due at a time when not all `samples` are.

        A source of n is never ahead of its share by more than one sample, so that at the time
        when samples - n are due by their shares, no more than `samples` are.
        """
        time = max(0, samples - len(self._shares)) * self._unit * self._common // sum(self._shares)
        return [
            max(0, (time // spacing - offset) // self._unit + 1)
            for spacing, offset in zip(self._spacing, self._offsets, strict=True)
        ]


def permute(index: int, size: int, key: str) -> int:
    """Return where `index` goes in a shuffle of range(size) that nobody has to store.

    A four-round Feistel network over the next even number of bits, walked until it falls inside
    the range (Black and Rogaway 2002, "Ciphers with arbitrary finite domains").
    """
    half, mask = _halves(size)
    while True:
        left, right = index >> half, index & mask
        for turn in range(4):
            left, right = right, left ^ (_scramble(key, turn, right) & mask)
        index = left << half | right
        if index < size:
            return index


def unpermute(place: int, size: int, key: str) -> int:
    """Return which index `permute` sends to `place`."""
    half, mask = _halves(size)
    while True:
        left, right = place >> half, place & mask
        for turn in reversed(range(4)):
            left, right = right ^ (_scramble(key, turn, left) & mask), left
        place = left << half | right
        if place < size:
            return place


def _halves(size: int) -> tuple[int, int]:
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    return half, (1 << half) - 1


def _scramble(key: str, turn: int, value: int) -> int:
    digest = hashlib.blake2b(f"{key}:{turn}:{value}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def rows(global_batch: int, micro_batch: int, rank: int, ranks: int) -> Iterator[range]:
    """Yield the places in a global batch of one rank's samples, micro-batch by micro-batch."""
    for begin in range(rank * micro_batch, global_batch, micro_batch * ranks):
        yield range(begin, min(begin + micro_batch, global_batch))


class Order:
    """The order of one training stage."""

    def __init__(self, recipe: Recipe, stage: TrainStage, windows: Mapping[str, int]) -> None:
        self._seed = recipe.seed
        self._windows = windows
        self._cap = recipe.data.max_epochs
        self._sources = sorted(stage.mixture)
        self._replay = [name for name in self._sources if name in stage.replay]
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
        """Return where sample number `sample` of the stage lies; beyond its end too."""
        return next(self.places(sample))

    def places(self, first: int) -> Iterator[Place]:
        """Yield where sample number `first` lies, and every sample after it, without end."""
        for source, number in self._blend.walk(first):
            yield self._place(self._sources[source], number)

    def _place(self, name: str, number: int) -> Place:
        epoch, index = divmod(self._read.get(name, 0) + number, self._windows[name])
        return Place(name, permute(index, self._windows[name], self.key(name, epoch)), epoch)

    def key(self, source: str, epoch: int) -> str:
        """Return what decides how the windows of a source are shuffled in one epoch."""
        return f"{self._seed}:{source}:{epoch}"

    def span(self, source: str) -> range:
        """Return which windows of a source the stage reads, counted over all epochs."""
        first = self._read.get(source, 0)
        return range(first, first + self.counts()[self._sources.index(source)])

    def counts(self) -> list[int]:
        """Return the samples of the stage by source, in the order of their names."""
        return self._blend.counts(self.samples)

    def epochs(self) -> dict[str, float]:
        """Return how often each source has been read when the stage ends."""
        return {
            name: (self._read.get(name, 0) + count) / self._windows[name]
            for name, count in zip(self._sources, self.counts(), strict=True)
        }

    def facts(self) -> dict[str, Any]:
        """Return what the evidence of a stage says about its order."""
        counts = dict(zip(self._sources, self.counts(), strict=True))
        epochs = self.epochs()
        return {
            "order": self.digest,
            "samples": counts,
            "epochs": epochs,
            "max_epochs": self._cap,
            "read_more_often": [name for name, number in epochs.items() if number > self._cap],
            "replay": sum(counts[name] for name in self._replay) / self.samples,
        }


def repeats(recipe: Recipe, windows: Mapping[str, int]) -> list[str]:
    """Return a sentence for each source that is read more often than the recipe's cap."""
    cap = recipe.data.max_epochs
    return [
        f"{name} has been read {epochs:.1f} times when {stage.name} ends; data.max_epochs is "
        f"{cap:g}. Give it more text, or less weight in train.stages.{stage.name}.mixture."
        for stage in recipe.train.stages
        for name, epochs in Order(recipe, stage, windows).epochs().items()
        if epochs > cap
    ]


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
