"""How far work over many bytes is: a line now and then, for those who wait."""

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

_SECONDS = 5.0
"""Between two lines; shorter work says nothing."""


class Progress:
    """Counts the bytes that are done, from any thread."""

    def __init__(self, what: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.total, self.clock = what, total, clock
        self.done = 0
        self._said = self._began = clock()
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        """Count `size` bytes more, and say how far it is where nothing was said for a while."""
        with self._lock:
            self.done += size
            now = self.clock()
            if now - self._said < _SECONDS:
                return
            self._said = now
            speed = self.done / (now - self._began)
        log.info(
            "%s %.1f of %.1f GB, %.0f MB/s",
            self.what,
            self.done / 1e9,
            self.total / 1e9,
            speed / 1e6,
        )
