"""What a person sees of the steps: a live line in a terminal, elsewhere a line now and then."""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aurora_release.train.engine import rank

log = logging.getLogger(__name__)

_SECONDS = 10.0
"""Between two plain lines."""


class Progress:
    """The progress of one stage; a context manager that ends the live line."""

    def __init__(
        self, stage: str, first: int, steps: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stage, self.first, self.steps, self.clock = stage, first, steps, clock
        self._speeds: deque[float] = deque(maxlen=20)
        self._said = -_SECONDS
        self._live: Any = None

    def __enter__(self) -> "Progress":
        if rank() == 0 and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Live

            columns = (
                TextColumn("{task.description}"),
                BarColumn(24),
                TextColumn("{task.fields[said]}"),
            )
            self._live = Live(*columns, console=Console(stderr=True), transient=True)
            self._live.start()
            self._live.add_task(self.stage, total=self.steps, completed=self.first, said="")
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def step(self, found: dict[str, Any]) -> None:
        """Show the metrics of a step that was taken."""
        self._speeds.append(found["tokens_per_second"])
        speed = sum(self._speeds) / len(self._speeds)
        left = (self.steps - found["step"]) * found["tokens"] / found["step"] / speed
        said = (
            f"step {found['step']}/{self.steps}  loss {found['loss']:.3f}  "
            f"lr {found['learning_rate']:.2e}  {speed:.0f} tokens/s  {_duration(left)} left"
        )
        if self._live:
            self._live.update(self._live.task_ids[0], completed=found["step"], said=said)
        elif self.clock() - self._said >= _SECONDS or found["step"] == self.steps:
            self._said = self.clock()
            log.info("%-14s %s", self.stage, said)


def _duration(seconds: float) -> str:
    """Return `40 s`, `12 min`, `5.2 h` or `3.1 d`."""
    for size, unit in ((86_400, "d"), (3600, "h")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
