"""The mean of the weights of the last checkpoints and the end of a stage."""

import logging
from contextlib import ExitStack
from typing import Any

import torch

from aurora_release.recipe import Train
from aurora_release.train.checkpoints.checkpoint import Checkpoints
from aurora_release.train.checkpoints.fragments import owned, prepare, refresh
from aurora_release.train.checkpoints.shards import WEIGHT, Files

log = logging.getLogger(__name__)


def snapshots(train: Train, steps: int) -> list[int]:
    """Return the steps of the checkpoints that go into the mean: the last regular ones.

    A checkpoint of an interrupted run is none of them, so that an interrupted run ends with the
    same weights. A stage with fewer checkpoints averages those it has.
    """
    regular = range(train.checkpoint_every, steps, train.checkpoint_every)
    return list(regular[max(0, len(regular) - (train.average - 1)) :])


def average(engine: Any, checkpoints: Checkpoints, steps: list[int]) -> None:
    """Put into `engine` the mean, in fp32, of its own weights and those after `steps`.

    Izmailov et al. 2018 (section 3); over the last checkpoints of a run as in Sanyal et al. 2023.

    Raises:
        AuroraError: a checkpoint is missing or damaged.
    """
    if not steps:
        return
    prepare(engine)
    mine = owned(engine)
    for step in steps:
        with ExitStack() as stack:
            files = Files(checkpoints.at(step), stack)
            for fragment in mine.fragments:
                tensor = mine.tensors[fragment.owner].data.view(-1)
                stretch = tensor[fragment.offset : fragment.offset + fragment.count]
                earlier = torch.empty_like(stretch)
                files.fill(earlier, WEIGHT, fragment)
                stretch += earlier
    for tensor in mine.tensors:
        tensor.data /= len(steps) + 1
    refresh(engine)
    log.info("               mean of the weights after steps %s and the last",
             ", ".join(map(str, steps)))  # fmt: skip
