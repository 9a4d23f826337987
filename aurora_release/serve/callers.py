"""Who asks: the request's id, the key's name, and what the key may still use."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from aurora_release.serve.keys import ApiKey, KeyLimits
from aurora_release.serve.quotas import Left, QuotaFile
from aurora_release.serve.replies import ApiError
from aurora_release.serve.traces import OFF, Trace

Clock = Callable[[], float]

SAVE_SECONDS = 5.0
"""What keys used of their day is written no more often; so much a killed process forgets."""


class Bucket:
    """So many units in so many seconds: it fills steadily and is full at the start."""

    def __init__(self, size: int, seconds: float, clock: Clock):
        self.size = size
        self._rate = size / seconds
        self._clock = clock
        self._level = float(size)
        self._seen = clock()
        self.touched = False
        """Whether anything was taken since somebody set this to False."""

    def level(self) -> float:
        """Return the units that are in it now; a debt is less than none."""
        now = self._clock()
        self._level = min(self.size, self._level + (now - self._seen) * self._rate)
        self._seen = now
        return self._level

    def wait(self, units: int) -> float:
        """Return the seconds until so many units can be taken, 0 where they can be now.

        What is larger than the bucket needs a full one, and leaves a debt.
        """
        return max(0.0, (min(units, self.size) - self.level()) / self._rate)

    def take(self, units: int) -> None:
        """Take units out; fewer than none puts them back."""
        self._level -= units
        self.touched = True

    def refill(self, units: float, seconds: float) -> None:
        """Let it hold what it holds so long after it held so many units."""
        self._level = min(self.size, units + max(0.0, seconds) * self._rate)
        self._seen = self._clock()


class Usage:
    """What one key has used."""

    def __init__(self, limits: KeyLimits, clock: Clock = time.monotonic, left: Left | None = None):
        """`left`: what an earlier process left of its day."""
        self.limits = limits
        self._requests = _bucket(limits.requests_per_minute, 60, clock)
        self._tokens = _bucket(limits.tokens_per_minute, 60, clock)
        self._quota = _bucket(limits.tokens_per_day, 86_400, clock)
        if self._quota is not None and left is not None and left.tokens_per_day == self._quota.size:
            self._quota.refill(left.tokens, time.time() - left.at)

    def spent(self) -> Left | None:
        """Return what is left of the day, if anything was taken since this was last asked."""
        if self._quota is None or not self._quota.touched:
            return None
        self._quota.touched = False
        return Left(self._quota.size, self._quota.level(), time.time())

    def take(self, tokens: int) -> None:
        """Count a request that may use so many tokens.

        Raises:
            ApiError: a limit of the key is reached; nothing was counted.
        """
        _check(self._quota, tokens, "tokens a day", "insufficient_quota")
        _check(self._requests, 1, "requests a minute", None)
        _check(self._tokens, tokens, "tokens a minute", None)
        if self._requests is not None:
            self._requests.take(1)
        self.give_back(-tokens)

    def give_back(self, tokens: int) -> None:
        """Count so many tokens less: those that were not used."""
        for bucket in (self._tokens, self._quota):
            if bucket is not None:
                bucket.take(-tokens)


@dataclass
class Caller:
    """Who sent a request, and what became of it: for its limits and its line in the log."""

    request: str
    """The id of the request."""
    key: str = ""
    """The name of the key; empty where none is asked for."""
    usage: Usage | None = None
    trace: Trace = OFF
    prompt_tokens: int = 0
    generated_tokens: int = 0
    blocked: int = 0
    """Answers that the filter did not let through."""
    failed: int = 0
    """Answers that did not come to their end: the engine failed, time was up, or nobody waited."""

    def afresh(self) -> "Caller":
        """Return the same with nothing counted, for one of several answers."""
        return Caller(self.request, self.key, self.usage, self.trace)


_CALLER: ContextVar[Caller] = ContextVar("caller")


def current() -> Caller:
    """Return who sent the request that is answered now; outside a request nobody did."""
    return _CALLER.get(Caller(""))


def enter(caller: Caller) -> None:
    """Let everything that is done from here on, in this task, be done for `caller`."""
    _CALLER.set(caller)


class Usages:
    """The usage of each key, by its name; it stays when the key file is read again."""

    def __init__(self, file: QuotaFile | None = None):
        """What is in `file` was used of the day already."""
        self._file = file
        self._saved = {} if file is None else file.read()
        self._known: dict[str, Usage] = {}

    def of(self, key: ApiKey) -> Usage:
        """Return what a key has used; with other limits than before, it begins anew."""
        known = self._known.get(key.name)
        if known is None or known.limits != key.limits:
            left = self._saved.get(key.name) if known is None else None
            known = self._known[key.name] = Usage(key.limits, left=left)
        return known

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Write what keys have left into the file, now and then and at the end."""
        ending = asyncio.Event()
        keeping = asyncio.create_task(self._keep(ending))
        try:
            yield
        finally:
            ending.set()
            await keeping

    async def _keep(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SAVE_SECONDS):
                    await ending.wait()
            await self._save()

    async def _save(self) -> None:
        found = {name: usage.spent() for name, usage in self._known.items()}
        spent = {name: left for name, left in found.items() if left is not None}
        if self._file is None or not spent:
            return
        self._saved |= spent
        await asyncio.to_thread(self._file.write, dict(self._saved))


def _bucket(size: int | None, seconds: float, clock: Clock) -> Bucket | None:
    return None if size is None else Bucket(size, seconds, clock)


def _check(bucket: Bucket | None, units: int, what: str, code: str | None) -> None:
    if bucket is None or not (wait := bucket.wait(units)):
        return
    seconds = math.ceil(round(wait, 3))
    raise ApiError(
        "overloaded",
        f"Your key may use {bucket.size} {what}. Try again in {_time(seconds)}.",
        code=code,
        retry_after=seconds,
    )


def _time(seconds: int) -> str:
    """Return how long that is, rounded up to what a person reads at a glance."""
    if seconds <= 120:
        return f"{seconds} seconds"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes <= 120 else f"{math.ceil(minutes / 60)} hours"
