"""Bad batches: told by their loss or gradient, held back before they touch a weight, recorded."""

import math
import statistics
from collections import deque
from collections.abc import Iterable
from typing import Any

from aurora_release.recipe import Watch
from aurora_release.train.batches import Batches

SKIPPED = "skipped.jsonl"


class Losses:
    """The last losses of batches that were trained on, and what they say about the next one."""

    def __init__(self, watch: Watch, losses: Iterable[float] = ()) -> None:
        self.spike = watch.spike
        self.last = deque(losses, maxlen=watch.window)

    @property
    def limit(self) -> float:
        """The loss above which a batch is bad; infinite until the window is full.

        Median and median absolute deviation, scaled to the standard deviation of a normal
        distribution: unlike mean and deviation, the spikes themselves do not move them.
        """
        if self.spike is None or len(self.last) < (self.last.maxlen or 0):
            return math.inf
        median = statistics.median(self.last)
        deviation = 1.4826 * statistics.median(abs(loss - median) for loss in self.last)
        return median + self.spike * deviation if deviation else math.inf

    def fault(self, loss: float) -> str | None:
        """Return what is wrong with a batch of this loss, or None."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if loss > self.limit:
            return f"the loss, {loss:.4g}, is above {self.limit:.4g}"
        return None


class Valve:
    """Stands before the optimizer; closed, DeepSpeed does all of a step but the update itself.

    So gradients are reduced, clipped and cleared as ever, and neither a weight nor a moment
    changes by a bit. It also closes by itself for gradients that are no numbers.
    """

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self._optimizer = engine.basic_optimizer
        self._update = self._optimizer.step
        self._optimizer.step = self._pass
        self.closed = False
        self._bad_gradient = False

    def step(self) -> str | None:
        """Let the engine end its step; return what is wrong with the gradient, or None."""
        self._bad_gradient = False
        fresh = not self._optimizer.state
        self.engine.step()
        wrapper = self.engine.optimizer
        if fresh and (self.closed or self._bad_gradient) and hasattr(wrapper, _LINKED):
            setattr(wrapper, _LINKED, False)  # there were no moments yet that it could link to
        if self._bad_gradient or getattr(wrapper, "overflow", False):
            return "the gradient is not finite"
        return None

    def _pass(self, *arguments: Any, **named: Any) -> Any:
        """Stand in for the optimizer's own step."""
        self._bad_gradient = self._bad_gradient or not self._finite()
        if self.closed or self._bad_gradient:
            return None
        return self._update(*arguments, **named)

    def _finite(self) -> bool:
        """Return whether the gradient is finite; the norm is global, so all ranks say the same."""
        import torch

        norm = getattr(self.engine.optimizer, "_global_grad_norm", None)
        if norm is None:  # no wrapper around the optimizer: DeepSpeed has clipped in place
            gradients = [weight.grad for group in self._optimizer.param_groups
                         for weight in group["params"] if weight.grad is not None]  # fmt: skip
            norm = torch.stack(torch._foreach_norm(gradients)).sum()
        return math.isfinite(float(norm)) and float(norm) >= 0


_LINKED = "_hp_optimizer_states_linked"


def record(batches: Batches, step: int, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what a skipped batch was: its step (from 1), what was wrong, and every sample."""
    first = (step - 1) * batches.global_batch
    return {
        **{key: metrics[key] for key in ("step", "skipped", "loss", "gradient_norm")},
        "samples": [_named(batches, first + place) for place in range(batches.global_batch)],
    }


def _named(batches: Batches, number: int) -> dict[str, Any]:
    place = batches.order.place(number)
    sample = batches.store.sample(place.source, place.window)
    return {
        "sample": number, "source": place.source, "window": place.window,
        "documents": list(sample.documents),
    }  # fmt: skip
