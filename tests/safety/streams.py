"""Answers, judges and a run of the stream filter, for its tests."""

from collections.abc import Callable, Iterable
from typing import Any

from aurora_release.safety.guard import Verdict
from aurora_release.safety.policy import Stream
from aurora_release.safety.stream import REASONING, TEXT, Channel, Release, StreamFilter, worst

TOOL, SECOND_TOOL = Channel("tool"), Channel("tool", 1)
CHANNELS = (TEXT, REASONING, TOOL, SECOND_TOOL)

ALLOW = Verdict("allow")
BLOCK = Verdict("block", "harm", 0.9, language="fi")
UNJUDGED = Verdict("block", "unverified", 1.0, verified=False)

HARM = "X☠害क़א🕱"
"""The characters of harmful spans. One is enough for the judge; spans are as long as they like."""

NOTICE = "[poistettu]"
SMALL = {"max_characters": 24, "min_characters": 5, "context_characters": 8}

PIECES = (
    "One is here. ", "Toinen on tässä! ", "तीसरा यहाँ है। ", "猫は好きです。", "Con mèo ở đây? ",
    "القط هنا. ", "החתול כאן. ", "line\n", "\r\n\n", "\x00", "\ud800", "'quoted'\"", "\\", "\\u12",
    "e" + "\u0301" * 70, "\u200b" * 70, " " * 70, "👩‍👩‍👧‍👦", "\u202e\u2066", "no end at all ",
    "n" * 30,
)  # fmt: skip

Delta = tuple[Channel, str]
Judge = Callable[[str], Verdict]


def stream(**options: Any) -> Stream:
    notices = {"en": "[removed]", "fi": NOTICE}
    return Stream(**{**SMALL, "notices": notices, **options})


def careful(text: str) -> Verdict:
    """Blocks what holds a harmful character."""
    return BLOCK if any(character in text for character in HARM) else ALLOW


def run(
    deltas: Iterable[Delta], judge: Judge = careful, json: bool | None = None, **options: Any
) -> tuple[list[Release], StreamFilter]:
    """Filter an answer and return what became of its segments, and the filter."""
    form = {} if json is None else {"json": json}
    outlet = StreamFilter(stream(**options), **form)
    releases = []

    def settle() -> None:
        while segment := outlet.segment():
            releases.append(outlet.settle(worst(map(judge, segment.views))))

    for channel, delta in deltas:
        outlet.feed(channel, delta)
        settle()
    outlet.finish()
    settle()
    return releases, outlet


def left(releases: Iterable[Release], channel: Channel = TEXT) -> str:
    """Return what left on a channel."""
    return "".join(found.text for found in releases if found.segment.channel == channel)


def whole(text: str, judge: Judge = careful, **options: Any) -> str:
    """Return what leaves of a text."""
    return left(run([(TEXT, text)], judge, **options)[0])
