"""How fast a stage trains: seconds of each part of a step, and the share of the device's peak."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from statistics import median
from typing import Any

import torch

from aurora_release.errors import AuroraError
from aurora_release.train.batches import MicroBatch
from aurora_release.train.estimate.flops import Flops, Peak, flops_per_token, peak
from aurora_release.train.watch import energy

log = logging.getLogger(__name__)

PARTS = ("data", "forward", "backward", "optimizer")


class Pace:
    """Takes the time of the parts of a step; on CUDA by events, so that no part waits for it."""

    def __init__(self, model: Any, bf16: bool) -> None:
        self.cost = _cost(model)
        self.peak: Peak | None = peak(bf16) if self.cost else None
        self._marks: list[tuple[str, Any]] = []
        self._meter = energy.Meter()

    def begin(self) -> None:
        """Forget the step before; a new one begins now."""
        self._marks = [("", _now())]
        self._meter.begin()

    def mark(self, part: str) -> None:
        """Say that what was done since the last mark was `part`."""
        self._marks.append((part, _now()))

    def row(self, batches: Sequence[MicroBatch], tokens: int) -> dict[str, Any]:
        """Return the metrics of the step: seconds by part, joules, tokens a second, and MFU.

        `tokens` is what the step counts for, over all ranks, as joules are. MFU is this rank's: the
        share of the peak that the model's own operations reach, without what is computed a second
        time (Chowdhery et al. 2022, appendix B); None where a side of it is unknown.
        """
        seconds: dict[str, float] = {}
        for (_, before), (part, after) in pairwise(self._marks):
            seconds[part] = seconds.get(part, 0.0) + _between(before, after)
        total = sum(seconds.values())
        mfu = None
        if self.cost and self.peak:
            mfu = _flops(self.cost, batches) / total / self.peak.flops
        return {
            "tokens_per_second": tokens / total,
            "tokens_read": sum(batch.tokens.numel() for batch in batches),
            "mfu": mfu,
            **{f"{part}_seconds": round(value, 6) for part, value in seconds.items()},
            **{f"{part}_joules": value for part, value in self._meter.joules().items()},
        }

    def facts(self, metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return medians over the steps of a stage, and what MFU is a share of."""
        names = ["tokens_per_second", "mfu", *(f"{part}_seconds" for part in PARTS)]
        found = {
            name: median(values) if (values := [row[name] for row in metrics if row.get(name)])
            else None
            for name in names
        }  # fmt: skip
        return {**found, "peak": asdict(self.peak) if self.peak else None}


def _cost(model: Any) -> Flops | None:
    if not all(weight.requires_grad for weight in model.parameters()):
        log.info("no MFU: some weights are frozen, and their share is not counted")
        return None
    try:
        return flops_per_token(model.config.to_dict(), 1)
    except AuroraError as error:
        log.info("no MFU: %s", error)
        return None


def _flops(cost: Flops, batches: Sequence[MicroBatch]) -> float:
    """Return the operations of some micro-batches, by the lengths of their documents."""
    lengths: list[int] = []
    for batch in batches:
        begins = (batch.positions == 0).flatten().nonzero().flatten()
        lengths += begins.diff(append=torch.tensor([batch.positions.numel()])).tolist()
    return cost.step(lengths, sum(batch.predictions for batch in batches))


def _now() -> Any:
    if not torch.cuda.is_available():
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _between(before: Any, after: Any) -> float:
    """Return the seconds between two marks; on CUDA once the later one has been reached."""
    if isinstance(after, float):
        return float(after - before)
    after.synchronize()
    return float(before.elapsed_time(after)) / 1000
