"""What leaves of an answer: text that was judged, with the tokens that made it."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace

from aurora_release.safety.guard import Verdict
from aurora_release.safety.policy import Stream
from aurora_release.safety.stream import TEXT, Channel, Release, Segment, StreamFilter
from aurora_release.safety.taxonomy import LANGUAGES
from aurora_release.serve.engines.protocol import Token
from aurora_release.serve.judging import Judged, Judging

Record = Callable[[Release, Judged], None]

Part = tuple[str, tuple[Token, ...]]
"""Text that may leave, and the tokens of it; text without tokens is a notice or a broken token."""


class Outlet:
    """The way out of one answer.

    Generation goes on in the engine while a segment is judged here; what comes in the meantime
    waits in the stream of deltas, at most the rest of the answer.
    """

    def __init__(
        self, judging: Judging, stream: Stream, record: Record, language: str, json: bool = False
    ):
        """`json`: the text of the answer is JSON."""
        self._judging = judging
        self._record = record
        self._language = language
        self._off = stream.mode == "off"
        self._filter = StreamFilter(stream, json)
        self._likely = StreamFilter(stream)
        """For tokens that were not chosen: what they say never stops the text beside them."""
        self._channel = TEXT

    @property
    def blocked(self) -> Verdict | None:
        """Why nothing leaves any more."""
        return self._filter.blocked

    async def push(self, channel: Channel, text: str) -> list[Release]:
        """Take in text and return what is decided now; another channel ends the one before."""
        if self._off:
            unjudged = Segment(channel, 0, text, ())
            return [Release(unjudged, "allow", text)] if text else []
        if channel != self._channel:
            self._filter.finish(self._channel)
            self._channel = channel
        self._filter.feed(channel, text)
        return await self._settled(self._filter)

    async def finish(self) -> list[Release]:
        """Settle all that is held, and return what was decided."""
        self._filter.finish()
        return await self._settled(self._filter)

    async def beside(self, tokens: tuple[Token, ...]) -> tuple[Token, ...]:
        """Return tokens that may leave, without the likeliest ones beside them where those may not.

        All the second ones in a row are a text, and so on: with words kept from being chosen, the
        likeliest of each place are what the model would have said.
        """
        places = max((len(token.top) for token in tokens), default=0)
        if self._off or not places:
            return tokens
        for place in range(places):
            row = "".join(token.top[place].text for token in tokens if place < len(token.top))
            self._likely.feed(Channel("likely", place), row)
        self._likely.finish()
        releases = await self._settled(self._likely)
        held = self._likely.blocked or any(each.outcome == "redact" for each in releases)
        return tuple(replace(token, top=()) for token in tokens) if held else tokens

    async def _settled(self, held: StreamFilter) -> list[Release]:
        releases = []
        while segment := held.segment():
            judged = await self._judging.judge(segment.views, "output")
            release = held.settle(self._spoken(judged.verdict))
            self._record(release, judged)
            releases.append(release)
        return releases

    def _spoken(self, verdict: Verdict) -> Verdict:
        """Return a verdict in the language of the question: who asked reads what is said of it."""
        known = self._language in LANGUAGES
        return replace(verdict, language=self._language) if known else verdict


class HeldTokens:
    """Keeps tokens of the text channel back until the filter has let go of all of their text."""

    def __init__(self) -> None:
        self._tokens: deque[tuple[Token | None, int]] = deque()
        """Each with the length of its text; None where a part of that text was removed."""
        self._text = ""

    def add(self, token: Token, text: str) -> None:
        """Hold a token and the text that became final with it."""
        self._tokens.append((token, len(text)))

    def release(self, release: Release) -> Iterator[Part]:
        """Yield what may be sent now that a segment was settled."""
        if release.segment.channel != TEXT or release.outcome == "block":
            return
        if release.outcome != "redact":
            self._text += release.text
            yield from self._whole_tokens()
            return
        if self._text:
            yield self._text, ()
        self._drop(len(self._text) + len(release.segment.text))
        self._text = ""
        if release.text:
            yield release.text, ()

    def rest(self) -> tuple[Token, ...]:
        """Return the tokens that are left at the end of an answer; none of them has text."""
        left = tuple(replace(token, text="") for token, _ in self._tokens if token is not None)
        self._tokens.clear()
        return left

    def _whole_tokens(self) -> Iterator[Part]:
        """Yield the text of the tokens that are ready, apart where its token is broken."""
        start = end = 0
        tokens: list[Token] = []
        for _ in range(self._ready()):
            token, size = self._tokens.popleft()
            begin, end = end, end + size
            if token is not None:
                tokens.append(replace(token, text=self._text[begin:end]))
                continue
            if tokens:
                yield self._text[start:begin], tuple(tokens)
            yield self._text[begin:end], ()
            start, tokens = end, []
        if tokens:
            yield self._text[start:end], tuple(tokens)
        self._text = self._text[end:]

    def _ready(self) -> int:
        """Return how many tokens may leave.

        A token without text of its own (a part of a character) belongs to the text that follows
        it, and leaves with that, or at the end.
        """
        ready = end = 0
        for place, (_, size) in enumerate(self._tokens, 1):
            end += size
            if end > len(self._text):
                break
            if size:
                ready = place
        return ready

    def _drop(self, characters: int) -> None:
        """Remove the tokens of so much text; the last of them may have text beyond it."""
        while characters > 0:
            _, size = self._tokens.popleft()
            characters -= size
        if characters:
            self._tokens.appendleft((None, -characters))
