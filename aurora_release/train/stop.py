"""A wish to stop: the first SIGINT or SIGTERM is noted, a second one is final."""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def stop_requests(then: Callable[[], object] = lambda: None) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM and call `then` instead of dying of them; a second one kills."""
    caught: list[int] = []

    def note(number: int, _: object) -> None:
        caught.append(number)
        signal.signal(number, before[signal.Signals(number)])
        then()
        log.info("stopping after this step; once more to stop at once")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
