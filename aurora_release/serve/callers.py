"""Who asks: the request's id, the key's name, and what the key may still use."""

import math
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from aurora_release.serve.keys import ApiKey, KeyLimits
from aurora_release.serve.replies import ApiError

Clock = Callable[[], float]


class Bucket:
    """So many units in so many seconds: it fills steadily and is full at the start."""

    def __init__(self, size: int, seconds: float, clock: Clock):
        self.size = size
        self._rate = size / seconds
        self._clock = clock
        self._level = float(size)
        self._seen = clock()

    def wait(self, units: int) -> float:
        """Return the seconds until so many units can be taken, 0 where they can be now.

        What is larger than the bucket needs a full one, and leaves a debt.
        """
        now = self._clock()
        self._level = min(self.size, self._level + (now - self._seen) * self._rate)
        self._seen = now
        return max(0.0, (min(units, self.size) - self._level) / self._rate)

    def take(self, units: int) -> None:
        """Take units out; fewer than none puts them back."""
        self._level -= units


class Usage:
    """What one key has used."""

    def __init__(self, limits: KeyLimits, clock: Clock = time.monotonic):
        self.limits = limits
        self._requests = _bucket(limits.requests_per_minute, 60, clock)
        self._tokens = _bucket(limits.tokens_per_minute, 60, clock)
        self._quota = _bucket(limits.tokens_per_day, 86_400, clock)

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
    prompt_tokens: int = 0
    generated_tokens: int = 0
    blocked: int = 0
    """Answers that the filter did not let through."""


_CALLER: ContextVar[Caller] = ContextVar("caller")


def current() -> Caller:
    """Return who sent the request that is answered now; outside a request nobody did."""
    return _CALLER.get(Caller(""))


def enter(caller: Caller) -> None:
    """Let everything that is done from here on, in this task, be done for `caller`."""
    _CALLER.set(caller)


@dataclass
class Usages:
    """The usage of each key, by its name; it stays when the key file is read again."""

    _known: dict[str, Usage] = field(default_factory=dict)

    def of(self, key: ApiKey) -> Usage:
        """Return what a key has used; with other limits than before, it begins anew."""
        known = self._known.get(key.name)
        if known is None or known.limits != key.limits:
            known = self._known[key.name] = Usage(key.limits)
        return known


def _bucket(size: int | None, seconds: float, clock: Clock) -> Bucket | None:
    return None if size is None else Bucket(size, seconds, clock)


def _check(bucket: Bucket | None, units: int, what: str, code: str | None) -> None:
    if bucket is None or not (wait := bucket.wait(units)):
        return
    seconds = math.ceil(round(wait, 3))
    raise ApiError(
        "overloaded",
        f"Your key may use {bucket.size} {what}. Try again in {seconds} seconds.",
        code=code,
        retry_after=seconds,
    )
