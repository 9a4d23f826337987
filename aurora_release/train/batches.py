"""The batches of a step: a pure function of the step, whatever the world size or micro-batch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aurora_release.data.mixture import Order
from aurora_release.data.store import Sample, Store
from aurora_release.train.loss import IGNORED


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
        first = step * self.global_batch
        samples = [self._sample(first + offset) for offset in range(self.global_batch)]
        labels = sum(int((sample.labels[1:] != IGNORED).sum()) for sample in samples)
        return [_stack(rows) for rows in self._mine(samples)], labels

    def _sample(self, number: int) -> Sample:
        place = self.order.place(number)
        return self.store.sample(place.source, place.window)

    def _mine(self, samples: list[Sample]) -> Iterator[list[Sample]]:
        """Yield this rank's rows, micro-batch by micro-batch."""
        stride = self.micro_batch * self.ranks
        for begin in range(self.rank * self.micro_batch, self.global_batch, stride):
            yield samples[begin : begin + self.micro_batch]


def _stack(samples: list[Sample]) -> MicroBatch:
    return MicroBatch(
        torch.from_numpy(np.stack([sample.tokens for sample in samples])),
        torch.from_numpy(np.stack([sample.positions for sample in samples])),
        torch.from_numpy(np.stack([sample.labels for sample in samples])),
    )
