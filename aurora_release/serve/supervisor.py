"""An engine that is started again: after it failed, and after it stood still."""

import asyncio
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, get_args

from aurora_release.serve.engines.protocol import (
    Delta,
    DeltaStream,
    Engine,
    EngineError,
    EngineStats,
    GenerationRequest,
    ModelFacts,
)

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 0.25
_LONGEST_PAUSE = 60.0
_STOP_SECONDS = 10.0
"""How long an engine may take to stop; one that hangs inside a library cannot be ended."""

State = Literal["hanging", "restarting", "stopped", "running"]
"""From the worst to the best."""


def together(supervisors: "Iterable[Supervisor]") -> State:
    """Return the worst of the states of some supervisors."""
    return min((each.state for each in supervisors), key=get_args(State).index)


class Supervisor:
    """Any engine, watched by a thread.

    It fails when its own stats say that it is not ready. It stands still when requests wait for it
    and none gets a token for `patience` seconds. In both cases the requests it had end with an
    error, once; it is stopped and started again, after a pause that doubles with each attempt.
    """

    def __init__(self, engine: Engine, patience: float, first_pause: float = 1.0):
        self.tokenizer = engine.tokenizer
        self._engine = engine
        self._patience = patience
        self._first_pause = first_pause
        self._streams: set[_Watched] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._busy_since: float | None = None
        """Since when the engine is being stopped or started."""
        self._is_up = False
        self.last_delta = 0.0
        """When any request last got a token (monotonic seconds)."""
        self.restarts = 0
        self._retry_at = 0.0

    @property
    def facts(self) -> ModelFacts:
        """What is served; an engine on other servers learns it from them."""
        return self._engine.facts

    @property
    def state(self) -> State:
        """What the engine is doing; `hanging` where it cannot even be stopped."""
        since = self._busy_since
        if since is not None and time.monotonic() - since > self._patience:
            return "hanging"
        if self._is_up and self._engine.stats().ready:
            return "running"
        return "stopped" if self._ending.is_set() or not self._thread.is_alive() else "restarting"

    def start(self) -> None:
        """Start the engine, and from then on watch it."""
        self._engine.start()
        self._is_up = True
        self._thread.start()

    def stop(self) -> None:
        """Stop the engine, or leave it alone if it does not stop; `state` then is `hanging`."""
        self._ending.set()
        self._is_up = False
        self._fail("The server is shutting down; try again later.")
        stopping = threading.Thread(target=self._end, name="stopping", daemon=True)
        stopping.start()
        stopping.join(_STOP_SECONDS)
        if stopping.is_alive():
            logger.error("The engine does not stop.")
            self._busy_since = float("-inf")

    def generate(self, request: GenerationRequest) -> DeltaStream:
        """Queue a request, inside a running event loop.

        Raises:
            Overloaded: the queue is full.
            EngineError: the engine does not run.
        """
        if (why := self.refusal()) is not None:
            raise why
        stream = _Watched(self, self._engine.generate(request))
        self._streams.add(stream)
        return stream

    def refusal(self) -> EngineError | None:
        """Return why nothing can be generated now, if that is so."""
        if self._is_up:
            return self._engine.refusal()
        wait = max(1, round(self._retry_at - time.monotonic()))
        return EngineError("The engine is being restarted; try again later.", wait)

    def stats(self) -> EngineStats:
        """Return what the engine is doing now."""
        return replace(self._engine.stats(), ready=self.state == "running")

    def forget(self, stream: "_Watched") -> None:
        """Stop watching a stream."""
        self._streams.discard(stream)

    def _watch(self) -> None:
        while not self._ending.wait(_CHECK_SECONDS):
            if self._stands_still():
                logger.error("No request got a token for %g seconds.", self._patience)
                self._restart("The engine stands still; try again later.")
                continue
            stats = self._engine.stats()
            if not stats.ready and not stats.waits:
                self._restart("The engine failed; try again later.")

    def _stands_still(self) -> bool:
        waiting = [stream.since for stream in list(self._streams) if stream.since is not None]
        if not waiting:
            return False
        return time.monotonic() - max(min(waiting), self.last_delta) > self._patience

    def _restart(self, reason: str) -> None:
        """Start the engine again, as often as it takes."""
        self._is_up = False
        self._fail(reason)
        pause = self._first_pause
        while not self._ending.is_set():
            self._retry_at = time.monotonic() + pause
            self._stop_engine()
            if self._ending.wait(max(0.0, self._retry_at - time.monotonic())):
                return
            if self._starts():
                self.restarts += 1
                self._is_up = True
                logger.warning("The engine runs again.")
                return
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _starts(self) -> bool:
        self._busy_since = time.monotonic()
        try:
            self._engine.start()
        except Exception as error:  # whatever an engine fails with, the server stays
            logger.error("The engine does not start: %s.", error)
            return False
        finally:
            self._busy_since = None
        return True

    def _stop_engine(self) -> None:
        self._busy_since = time.monotonic()
        try:
            self._engine.stop()
        finally:
            self._busy_since = None

    def _end(self) -> None:
        if self._thread.is_alive():
            self._thread.join()
        self._stop_engine()

    def _fail(self, reason: str) -> None:
        for stream in list(self._streams):
            stream.fail(reason)


class _Watched:
    """The deltas of one request, which end with an error where the supervisor says so."""

    def __init__(self, supervisor: Supervisor, source: DeltaStream):
        self._supervisor = supervisor
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Timeout | None = None
        self._failure: str | None = None
        self.since: float | None = None
        """Since when the next delta is waited for."""

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Delta:
        if self._failure is not None:
            raise EngineError(self._failure)
        self.since = time.monotonic()
        try:
            async with asyncio.timeout(None) as self._waiting:
                delta = await self._source.__anext__()
        except TimeoutError:
            assert self._failure is not None
            raise EngineError(self._failure) from None
        finally:
            self._waiting = self.since = None
        self._supervisor.last_delta = time.monotonic()
        return delta

    async def aclose(self) -> None:
        """Cancel the request, unless it has ended."""
        self._supervisor.forget(self)
        await self._source.aclose()

    def fail(self, reason: str) -> None:
        """End the request with an error; called from another thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._fail, reason)

    def _fail(self, reason: str) -> None:
        if self._failure is not None:
            return
        self._failure = reason
        if self._waiting is not None:
            self._waiting.reschedule(self._loop.time())
