"""The batches of a step: a pure function of the step, whatever the world size or micro-batch."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from aurora_release.data.mixture import Order, Place, rows
from aurora_release.data.store import Sample, Store
from aurora_release.evidence import canonical, sha256
from aurora_release.train.loss import IGNORED


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass of one rank reads; tensors are [rows, length] int64.

    A row is a sample, or there is one row, all documents of the samples that have a label.
    """

    tokens: Tensor
    positions: Tensor
    labels: Tensor

    @property
    def predictions(self) -> int:
        """How many tokens have a label to predict."""
        return int((self.labels[:, 1:] != IGNORED).sum())


@dataclass(frozen=True)
class Batches:
    """Cuts the order of a stage into steps, ranks and micro-batches."""

    store: Store
    order: Order
    global_batch: int
    micro_batch: int
    rank: int
    ranks: int
    joined: bool = False
    """Read the samples of a micro-batch as one row, without padding; for attention that costs what
    the documents in it cost."""

    def step(self, step: int) -> tuple[list[MicroBatch], int]:
        """Return this rank's micro-batches, and how many labels the whole global batch has."""
        places = self._places(step)
        labels = sum(self.store.labels(place.source, place.window) for place in places)
        mine = rows(self.global_batch, self.micro_batch, self.rank, self.ranks)
        put = _join if self.joined else _stack
        return [put([self._sample(places[at]) for at in row]) for row in mine], labels

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


def _join(samples: list[Sample]) -> MicroBatch:
    """Return the documents that have a label, end to end in one row.

    Documents do not see each other, so one without a label (padding, a cut-off prompt) changes
    nothing. Where there is no label at all, all stay: a forward pass needs something to read.
    """
    positions = np.concatenate([sample.positions for sample in samples])
    labels = np.concatenate([sample.labels for sample in samples])
    tokens = np.concatenate([sample.tokens for sample in samples])
    document = np.cumsum(positions == 0) - 1
    labelled = np.bincount(document, labels != IGNORED) > 0
    kept = labelled[document] if labelled.any() else slice(None)
    return MicroBatch(
        *(torch.from_numpy(part[None, kept].copy()) for part in (tokens, positions, labels))
    )
