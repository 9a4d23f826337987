"""The hold-back filter between a model and its reader: no character leaves before it was judged.

What is promised. Each channel of an answer is cut into segments, at places that its text alone
decides. A segment leaves after the judge allowed every view of it: alone, lest harmless text before
it drown what it says; behind what left before it on its channel; and behind what left before it on
any channel; of JSON, both as it reads and as it is written. So harm leaves neither where a segment
says it, nor where the end of what was said says it together with a segment. The context has no runs
of spaces, invisible characters and marks, which could otherwise fill it. Not promised: harm that
only shows in more text than segment and context have together; of that, what came last is stopped.
"""

import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from aurora_release.safety.escapes import LONGEST, unescape
from aurora_release.safety.guard import Verdict
from aurora_release.safety.policy import Stream
from aurora_release.safety.text import segment_end

Outcome = Literal["allow", "flag", "redact", "block"]
"""What was done with a segment: `allow` and `flag` let it leave."""

_LAYERS = 3
"""How often JSON within JSON is decoded."""

_MARKS = 3
"""Combining marks in a row that the context keeps."""

_INVISIBLE = {"Cc", "Cf", "Cn", "Co", "Cs"}

_BLANK = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and signs by category that show nothing: fillers of Hangul, the empty Braille cell."""

_SEVERITY = {"allow": 0, "flag": 1, "block": 2}


@dataclass(frozen=True)
class Channel:
    """Where a delta belongs."""

    kind: Literal["text", "reasoning", "tool", "likely"]
    """`tool`: the arguments of a tool call, in JSON; `likely`: tokens named beside the text."""
    index: int = 0
    """Which tool call of the answer, or which place among the likeliest tokens."""


TEXT, REASONING = Channel("text"), Channel("reasoning")


@dataclass(frozen=True)
class Segment:
    """A piece of a channel, to be judged at once."""

    channel: Channel
    position: int
    """Characters of the channel before it."""
    text: str
    views: tuple[str, ...]
    """What the judge is asked about, each by itself."""


@dataclass(frozen=True)
class Release:
    """What became of a segment."""

    segment: Segment
    outcome: Outcome
    text: str
    """What leaves in its place: all of it, a notice, or nothing."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the most severe verdict, and of equals the highest score; one that blocks ends it."""
    found: Verdict | None = None
    for verdict in verdicts:
        if found is None or _rank(verdict) > _rank(found):
            found = verdict
        if found.action == "block":
            break
    assert found is not None
    return found


class StreamFilter:
    """Holds the text of one answer until its segments are settled; it asks nobody itself.

    `feed` takes text in, `segment` says what is to be judged next, and `settle` takes the verdict
    and returns what may leave. Nothing leaves in any other way, so whatever happens to the judge,
    what was not settled stays. What leaves depends on the order of the characters alone, never on
    how they were cut into deltas. After a block nothing leaves on any channel, and `blocked` says
    why.
    """

    def __init__(self, stream: Stream, json: bool = False):
        """`json`: the text is JSON, which its reader decodes like the arguments of a tool."""
        self.blocked: Verdict | None = None
        self._stream = stream
        self._json = {"tool", "text"} if json else {"tool"}
        self._lanes: dict[Channel, _Lane] = {}
        self._ready: deque[tuple[_Lane, _Cut]] = deque()
        self._context = ""
        """The end of what left, of all channels in the order in which it left."""

    def feed(self, channel: Channel, delta: str) -> None:
        """Take in the next text of a channel."""
        if delta and self.blocked is None:
            coded = channel.kind in self._json
            lane = self._lanes.setdefault(channel, _Lane(channel, self._stream, coded))
            self._ready.extend((lane, cut) for cut in lane.feed(delta))

    def finish(self, channel: Channel | None = None) -> None:
        """Let what is left of a channel, or of all of them, be judged: no more text will follow."""
        lanes = [*self._lanes.values()] if channel is None else [self._lanes.get(channel)]
        for lane in lanes:
            if lane is not None:
                self._ready.extend((lane, cut) for cut in lane.finish())

    def segment(self) -> Segment | None:
        """Return what is to be judged next, the same until it is settled."""
        if not self._ready:
            return None
        lane, cut = self._ready[0]
        return Segment(lane.channel, cut.position, cut.text, self._views(lane, cut))

    def settle(self, verdict: Verdict) -> Release:
        """Take the verdict about `segment()`, the worst of its views; return what leaves for it.

        Raises:
            LookupError: no segment waits for a verdict.
        """
        segment = self.segment()
        if segment is None:
            raise LookupError("No segment waits for a verdict.")
        lane, cut = self._ready.popleft()
        outcome = self._outcome(verdict, segment.channel)
        text = segment.text
        if outcome == "block":
            self.blocked, text = verdict, ""
            self._lanes.clear()
            self._ready.clear()
        elif outcome == "redact":
            text = "" if lane.redacted else self._notice(verdict, segment.text)
        else:
            self._context = self._tail(self._context + cut.plain)
            lane.context = self._tail(lane.context + cut.plain)
            lane.written = self._tail(lane.written + cut.text)
        lane.redacted = outcome == "redact"
        return Release(segment, outcome, text)

    def _outcome(self, verdict: Verdict, channel: Channel) -> Outcome:
        if verdict.action != "block":
            return verdict.action
        if self._stream.mode == "flag":
            return "flag"
        # Arguments with a hole are not JSON, or worse, they are, and some tool runs with them.
        redacted = self._stream.mode == "redact" and channel.kind != "tool"
        return "redact" if redacted else "block"

    def _views(self, lane: "_Lane", cut: "_Cut") -> tuple[str, ...]:
        views = [cut.plain, lane.context + cut.plain, self._context + cut.plain]
        if lane.coded:
            deeper = views[1]
            for _ in range(_LAYERS - 1):
                deeper = unescape(deeper)[0]
                views.append(deeper)
            views += [cut.text, lane.written + cut.text]
        return tuple(dict.fromkeys(views))

    def _notice(self, verdict: Verdict, text: str) -> str:
        return self._stream.notice(verdict.language) + ("\n" if text.endswith("\n") else " ")

    def _tail(self, text: str) -> str:
        size = self._stream.context_characters
        return _dense(text)[-size:] if size else ""


class _Cut(NamedTuple):
    """A segment as it was cut, before its context is known."""

    position: int
    text: str
    plain: str
    """The text as it reads, with JSON escapes decoded."""


class _Lane:
    """The held text of one channel."""

    def __init__(self, channel: Channel, stream: Stream, coded: bool):
        self.channel = channel
        self.coded = coded
        """Whether it is JSON."""
        self.context = ""
        """The end of what left, as it reads."""
        self.written = ""
        """The end of what left, as it is written."""
        self.redacted = False
        """Whether a notice stands in the place of the last segment."""
        self._sizes = stream.min_characters, stream.max_characters
        self._held = ""
        self._position = 0

    def feed(self, delta: str) -> Iterator[_Cut]:
        """Hold more text and yield the segments that it ends."""
        self._held += delta
        return self._cuts(closed=False)

    def finish(self) -> Iterator[_Cut]:
        """Yield what is still held."""
        return self._cuts(closed=True)

    def _cuts(self, closed: bool) -> Iterator[_Cut]:
        start = 0
        while start < len(self._held):
            plain, ends = self._read(start, closed)
            end = segment_end(plain, *self._sizes) or (len(plain) if closed else 0)
            if not end:
                break
            text = self._held[start : start + ends[end - 1]]
            yield _Cut(self._position, text, plain[:end])
            self._position += len(text)
            start += len(text)
        self._held = self._held[start:]

    def _read(self, start: int, closed: bool) -> tuple[str, "list[int] | range"]:
        """Return how the held text reads from `start`, as far as a segment may need it."""
        longest = self._sizes[1]
        if not self.coded:
            text = self._held[start : start + longest]
            return text, range(1, len(text) + 1)
        return unescape(self._held[start : start + longest * LONGEST], closed)


def _rank(verdict: Verdict) -> tuple[int, float]:
    return _SEVERITY[verdict.action], verdict.score


def _dense(text: str) -> str:
    """Return a text without what takes room and says nothing."""
    kept = [" "]
    marks = 0
    for character in text:
        if character.isspace():
            character = " "
        kind = unicodedata.category(character)
        if kind in _INVISIBLE or character in _BLANK or (character == kept[-1] == " "):
            continue
        marks = marks + 1 if kind[0] == "M" else 0
        if not marks or (marks <= _MARKS and kept[-1] != " "):
            kept.append(character)
    return "".join(kept[1:])
