"""Turns tokens into text as they come: whole characters only, and not past a stop string."""

from collections.abc import Callable, Sequence

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_CONTEXT = 4  # tokens before the answer, so that a leading space is seen as one
_WINDOW = 32  # tokens decoded at once, at most, unless they end inside a character


class Detokenizer:
    """Decodes an answer token by token; text leaves once its characters are complete."""

    def __init__(self, decode: Callable[[Sequence[int]], str], prompt: Sequence[int]):
        self._decode = decode
        self._ids = list(prompt[-_CONTEXT:])
        self._done = len(decode(self._ids))

    def push(self, token: int) -> str:
        """Return the text that `token` completed."""
        self._ids.append(token)
        text = self._decode(self._ids)
        whole = text.rstrip(_REPLACEMENT)
        fresh = whole[self._done :]
        self._done = max(self._done, len(whole))
        if whole == text and len(self._ids) > _WINDOW:
            self._ids = self._ids[-_CONTEXT:]
            self._done = len(self._decode(self._ids))
        return fresh


class StopStrings:
    """Holds back what may become a stop string, and ends the text at the first that is complete."""

    def __init__(self, stop: Sequence[str], include: bool):
        self._stop = stop
        self._include = include
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Return (text that may leave, whether a stop string ended the answer)."""
        self._held += text
        found = [
            (start + len(stop), start)
            for stop in self._stop
            if (start := self._held.find(stop)) >= 0
        ]
        if found:
            end, start = min(found)
            return self._held[: end if self._include else start], True
        cut = len(self._held) - self._open()
        free, self._held = self._held[:cut], self._held[cut:]
        return free, False

    def finish(self) -> str:
        """Return what was held back, now that nothing follows it."""
        return self._held

    def _open(self) -> int:
        """Return how many of the last characters may begin a stop string."""
        return max(
            (
                size
                for stop in self._stop
                for size in range(1, min(len(stop), len(self._held) + 1))
                if self._held.endswith(stop[:size])
            ),
            default=0,
        )
