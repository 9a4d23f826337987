"""Who is let in: no more answers, and no more tokens, than the engine can get through."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from aurora_release.serve.callers import Usage
from aurora_release.serve.engines.protocol import Engine
from aurora_release.serve.replies import ApiError

_WINDOW_SECONDS = 60.0
_LONGEST_WAIT = 120

_ROUNDS = 4
"""Unless told otherwise: what all slots can hold, and three times as much waiting."""


class Admission:
    """Counts the answers under way, waiting ones included, and the tokens they may come to.

    An engine could refuse by itself, but by the number of requests only: sixty waiting requests of
    a hundred tokens are a minute's work, of two thousand tokens each they are half an hour's.
    """

    def __init__(
        self,
        engine: Engine,
        most_waiting: int,
        most_tokens: int | None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._engine = engine
        self._most_waiting = most_waiting
        self._most_tokens = most_tokens
        self._clock = clock
        self.answers = 0
        self.tokens = 0
        self._left: deque[tuple[float, int]] = deque()
        """When answers ended in the last minute, and the tokens that became free."""

    def enter(self, tokens: Sequence[int], usage: Usage | None) -> "Visit":
        """Count in answers that may come to so many tokens each, prompts included.

        Raises:
            ApiError: there is no room for all of them, now or ever, or the key may not use so many;
                nothing is counted.
        """
        slots, most_tokens = self._engine.stats().slots, self._most_tokens
        if slots and len(tokens) > (most := slots + self._most_waiting):
            said = f"At most {most} answers in one request: this server makes no more at a time"
            raise ApiError("invalid", said, "n")
        if most_tokens is None:
            most_tokens = _ROUNDS * slots * self._engine.facts.max_total_tokens
        too_many = self.answers + len(tokens) - slots - self._most_waiting
        # an engine that is down has no slots, and says so itself: that is not the client's doing
        too_long = self.tokens + sum(tokens) - most_tokens if slots else 0
        # an empty server takes as many tokens as one request may ask for
        if self.answers and (too_many > 0 or too_long > 0):
            raise self.refusal(too_many, too_long)
        if usage is not None:
            usage.take(sum(tokens))
        self.answers += len(tokens)
        self.tokens += sum(tokens)
        return Visit(self, tokens, usage)

    def leave(self, tokens: int) -> None:
        """Count out an answer that had been let in with so many tokens."""
        self.answers -= 1
        self.tokens -= tokens
        self._left.append((self._clock(), tokens))

    def refusal(self, answers: int = 1, tokens: int = 0) -> ApiError:
        """Return what a client is told when so many answers or tokens are too many."""
        seconds = self._seconds(answers, tokens)
        return ApiError(
            "overloaded",
            f"Model is overloaded: {self.answers} answers are under way. Try again in "
            f"{seconds} second{'s' if seconds != 1 else ''}.",
            retry_after=seconds,
        )

    def _seconds(self, answers: int, tokens: int) -> int:
        """Return in how many seconds so much will be free, at the pace of the last minute."""
        now = self._clock()
        while self._left and self._left[0][0] < now - _WINDOW_SECONDS:
            self._left.popleft()
        if not self._left:
            return 1
        elapsed = max(now - self._left[0][0], 1.0)
        freed = sum(count for _, count in self._left)
        wait = max(answers * elapsed / len(self._left), tokens * elapsed / freed)
        return min(max(math.ceil(wait), 1), _LONGEST_WAIT)


class Visit:
    """A request that was let in; each of its answers gives back what it held, once."""

    def __init__(self, admission: Admission, tokens: Sequence[int], usage: Usage | None):
        self._admission = admission
        self._usage = usage
        self._tokens = dict(enumerate(tokens))
        """What each answer that is still under way was let in with."""
        self._used = [0] * len(tokens)

    def use(self, index: int, tokens: int) -> None:
        """Count tokens that an answer really took."""
        self._used[index] += tokens

    def left(self, index: int) -> None:
        """Give back the place of an answer, and to its key what was not used."""
        tokens = self._tokens.pop(index, None)
        if tokens is None:
            return
        self._admission.leave(tokens)
        if self._usage is not None:
            self._usage.give_back(tokens - self._used[index])

    def end(self) -> None:
        """Give back everything."""
        for index in list(self._tokens):
            self.left(index)
