"""The batches of a step: a pure function of the step, whatever the world size or micro-batch."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from aurora_release.data.mixture import Order, Place, rows
from aurora_release.data.store import Sample, Store
from aurora_release.evidence import canonical, sha256


@dataclass(frozen=True)
class MicroBatch:
    """Rows of one forward pass of one rank; tensors are [rows, sequence length] int64."""

    tokens: Tensor
    positions: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Batches:
    """Cuts the order of a stage into steps, ranks and micro-batches."""

    store: Store
    order: Order
    global_batch: int
    micro_batch: int
    rank: int
    ranks: int

    def step(self, step: int) -> tuple[list[MicroBatch], int]:
        """Return this rank's micro-batches, and how many labels the whole global batch has."""
        places = self._places(step)
        labels = sum(self.store.labels(place.source, place.window) for place in places)
        mine = rows(self.global_batch, self.micro_batch, self.rank, self.ranks)
        return [_stack([self._sample(places[at]) for at in row]) for row in mine], labels

    def digest(self, step: int) -> str:
        """Return a short digest of which samples the global batch of a step has, in order."""
        places = [[place.source, place.window] for place in self._places(step)]
        return sha256(canonical(places))[:16]

    def _places(self, step: int) -> list[Place]:
        return list(islice(self.order.places(step * self.global_batch), self.global_batch))

    def _sample(self, place: Place) -> Sample:
        return self.store.sample(place.source, place.window)


def _stack(samples: list[Sample]) -> MicroBatch:
    return MicroBatch(
        torch.from_numpy(np.stack([sample.tokens for sample in samples])),
        torch.from_numpy(np.stack([sample.positions for sample in samples])),
        torch.from_numpy(np.stack([sample.labels for sample in samples])),
    )
