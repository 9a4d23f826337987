"""The hold-back filter between a model and its reader: no character leaves before it was judged."""

import logging
from collections.abc import Callable

from aurora_release.safety.guard import Verdict
from aurora_release.safety.taxonomy import UNVERIFIED
from aurora_release.safety.text import segment_end

logger = logging.getLogger(__name__)


class StreamFilter:
    """Releases a text segment by segment, each one only after `judge` allowed it.

    `judge` gets each segment alone, lest harmless text before it drown what it says, and then
    behind the text that was released before it (the context). What leaves depends on the text
    alone, never on how it was cut into deltas. After the first blocked segment, or the first
    failure of `judge`, nothing leaves any more and `blocked` says why.
    """

    def __init__(
        self,
        judge: Callable[[str], Verdict],
        max_characters: int = 160,
        min_characters: int = 24,
        context_characters: int = 80,
    ):
        self.blocked: Verdict | None = None
        self._judge = judge
        self._max = max_characters
        self._min = min_characters
        self._context_size = context_characters
        self._context = ""
        self._held = ""

    def feed(self, delta: str) -> str:
        """Take the next piece of text and return what may leave now."""
        self._held += delta
        start = 0
        while self.blocked is None and (end := self._segment_end(start)):
            if self._passes(self._held[start:end]):
                start = end
        return self._release(start)

    def finish(self) -> str:
        """Return the rest of the text, if it may leave."""
        passes = self.blocked is None and bool(self._held) and self._passes(self._held)
        return self._release(len(self._held) if passes else 0)

    def _segment_end(self, start: int) -> int:
        """Return where the segment that begins at `start` ends, or 0 while it is open."""
        text = self._held[start : start + self._max]
        return start + end if (end := segment_end(text, self._min, self._max)) else 0

    def _passes(self, segment: str) -> bool:
        # Closed before the question is asked: whatever stops the judge, nothing leaves.
        self.blocked = Verdict("block", UNVERIFIED, score=1.0, verified=False)
        try:
            verdict = self._judge(segment)
            if self._context and verdict.action != "block":
                verdict = self._judge(self._context + segment)
        except Exception as error:
            # The message may hold words of the text, which stay out of the log.
            logger.error("The judge of a stream failed: %s.", type(error).__name__)
            return False
        if verdict.action == "block":
            self.blocked = verdict
            return False
        self.blocked = None
        if self._context_size:
            self._context = (self._context + segment)[-self._context_size :]
        return True

    def _release(self, end: int) -> str:
        """Return the held text up to `end` and keep the rest, or drop it once blocked."""
        released = self._held[:end]
        self._held = "" if self.blocked else self._held[end:]
        return released
