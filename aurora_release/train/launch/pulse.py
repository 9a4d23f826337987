"""Signs of life between machines that share a file system: the time of a file that is touched.

Both times that are compared were set by the file system, so clocks of machines need not agree.
"""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

BEAT = 10.0
"""Seconds between two signs of life."""

SILENCE = 120.0
"""Seconds without one after which a process on another machine is taken for dead."""


class Every:
    """Says when it is time again for what is to be done now, and then every so many seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock, self._last = seconds, clock, -math.inf

    def due(self) -> bool:
        """Return whether the time has come, and count from now if so."""
        now = self._clock()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


def beat(path: Path) -> None:
    """Give a sign of life in a file, which must be there: a late one makes no file again."""
    os.utime(path)


def silent(path: Path, mine: Path, silence: float = SILENCE) -> bool:
    """Return whether the last sign in `path` is `silence` older than that just given in `mine`."""
    return os.stat(mine).st_mtime - os.stat(path).st_mtime > silence
