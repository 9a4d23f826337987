"""Sorts what a model writes into the channels of an answer: text, reasoning and tool calls."""

import json
import re
from dataclasses import dataclass
from typing import Literal

from aurora_release.safety.stream import REASONING, TEXT, Channel

THINK, END_OF_THINK = "<think>", "</think>"
CALL, END_OF_CALL = "<tool_call>", "</tool_call>"

_HEAD = re.compile(
    r'\s*\{\s*"name"\s*:\s*"([^"\\]+)"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)', re.ASCII
)
"""What stands before the arguments of a call."""


@dataclass(frozen=True)
class Form:
    """How an answer is written."""

    thinks: Literal["no", "maybe", "begun"] = "no"
    """Whether it may begin with reasoning; `begun`: the prompt has opened it already."""
    calls: Literal["none", "tagged", "array", "named"] = "none"
    """Tool calls between tags (Hermes); one JSON array of them; the arguments of one call alone."""
    tools: tuple[str, ...] = ()
    """The tools that can be called: one of them, where `named`."""


@dataclass(frozen=True)
class Written:
    """A part of an answer."""

    channel: Channel
    text: str
    tool: str = ""
    """The tool that is called, where a call begins."""


class Sorter:
    """Sorts the text of one answer as it comes; how it was cut does not matter."""

    def __init__(self, form: Form):
        self._form = form
        self._held = ""
        self._calls = 0
        self._fresh = False
        """No text was written since the reasoning or the last call; white space is left out."""
        self._value = _Value()
        self._found: list[Written] = []
        self._read = {"no": self._body, "maybe": self._start, "begun": self._reasoning}[form.thinks]

    def push(self, text: str) -> list[Written]:
        """Return the parts that are clear with `text`."""
        return self._sort(text, last=False)

    def finish(self) -> list[Written]:
        """Return what was held back, now that nothing follows it."""
        return self._sort("", last=True)

    def _sort(self, text: str, last: bool) -> list[Written]:
        self._held += text
        self._found = []
        while self._read(last):
            pass
        return self._found

    # Each of these reads from what is held, and returns whether the next one can go on with it.

    def _start(self, last: bool) -> bool:
        """Look whether the answer begins with reasoning."""
        begin = self._held.lstrip()
        if begin.startswith(THINK):
            self._held, self._read = begin[len(THINK) :], self._reasoning
            return True
        if not last and THINK.startswith(begin):
            return False
        self._read = self._body
        return True

    def _reasoning(self, last: bool) -> bool:
        before, found, after = self._held.partition(END_OF_THINK)
        if found:
            self._write(REASONING, before)
            self._held, self._read, self._fresh = after, self._body, True
            return True
        self._release(REASONING, 0 if last else _opening(self._held, END_OF_THINK))
        return False

    def _body(self, last: bool) -> bool:
        if self._form.calls == "named":
            tool = "" if self._calls else self._form.tools[0]
            if self._held:
                self._calls = 1
                self._write(Channel("tool"), self._held, tool)
            self._held = ""
            return False
        if self._form.calls == "array":
            return self._array(last)
        if self._fresh:
            self._held = self._held.lstrip()
        if self._form.calls == "none":
            self._release(TEXT, 0)
            return False
        return self._tagged(last)

    def _tagged(self, last: bool) -> bool:
        """Read text up to a call, without the white space before it."""
        before, found, after = self._held.partition(CALL)
        if found:
            self._write(TEXT, before.rstrip())
            self._held, self._read = after, self._head
            return True
        size = 0 if last else _opening(self._held, CALL)
        size = len(self._held) - len(self._held[: len(self._held) - size].rstrip())
        self._release(TEXT, 0 if last else size)
        return False

    def _array(self, last: bool) -> bool:
        """Read to the next call of an array; what is no array is text."""
        held = self._held.lstrip("[], \n\t") if self._calls else self._held.lstrip("[ \n\t")
        if held.startswith("{"):
            self._held, self._read = held, self._head
            return True
        if held:
            self._read = self._text
            return True
        if last and not self._calls:
            self._release(TEXT, 0)
        return False

    def _text(self, last: bool) -> bool:
        self._release(TEXT, 0)
        return False

    def _head(self, last: bool) -> bool:
        """Read what comes before the arguments of a call."""
        found = _HEAD.match(self._held)
        if found and found[1] in self._form.tools:
            self._held, self._read = self._held[found.end() :], self._arguments
            self._value = _Value()
            self._write(self._channel(), "", found[1])
            return True
        tagged = self._form.calls == "tagged"
        body, closed, after = self._held.partition(END_OF_CALL) if tagged else (self._held, "", "")
        if not closed and not last:
            return False
        call = _whole_call(body, self._form.tools)
        if call is None:
            self._write(TEXT, CALL + body + closed if tagged else body)
        else:
            self._write(self._channel(), call[1], call[0])
            self._calls += 1
            self._fresh = True
        self._held, self._read = after, self._body if tagged else self._text
        return bool(after)

    def _arguments(self, last: bool) -> bool:
        """Read the arguments, an object, to their end."""
        end = self._value.end(self._held)
        self._write(self._channel(), self._held if end is None else self._held[:end])
        self._held = "" if end is None else self._held[end:]
        if end is None:
            return False
        self._calls += 1
        self._fresh = True
        self._read = self._tail
        return True

    def _tail(self, last: bool) -> bool:
        """Leave out what stands between the arguments and the end of their call."""
        closing = END_OF_CALL if self._form.calls == "tagged" else "}"
        _, found, after = self._held.partition(closing)
        if not found:
            return False
        self._held, self._read = after, self._body
        return True

    def _channel(self) -> Channel:
        return Channel("tool", self._calls)

    def _release(self, channel: Channel, hold: int) -> None:
        """Write what is held, but for its last characters."""
        cut = len(self._held) - hold
        self._write(channel, self._held[:cut])
        self._held = self._held[cut:]

    def _write(self, channel: Channel, text: str, tool: str = "") -> None:
        if text or tool:
            self._found.append(Written(channel, text, tool))
            self._fresh = self._fresh and channel != TEXT


class _Value:
    """Finds the end of a JSON object that comes in parts."""

    _MARK = re.compile(r'[{}\[\]"\\]')

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = False
        self._escaped = False

    def end(self, text: str) -> int | None:
        """Return where in the next part the object has ended, or None if it goes on."""
        place = 0
        while place < len(text):
            if self._escaped:
                self._escaped = False
                place += 1
                continue
            found = self._MARK.search(text, place)
            if found is None:
                return None
            place = found.end()
            self._step(found[0])
            if self._depth == 0:
                return place
        return None

    def _step(self, mark: str) -> None:
        if self._quoted:
            self._escaped = mark == "\\"
            self._quoted = mark != '"'
        elif mark == '"':
            self._quoted = True
        elif mark != "\\":
            self._depth += 1 if mark in "{[" else -1


def _opening(text: str, tag: str) -> int:
    """Return how many of the last characters may begin the tag."""
    sizes = range(min(len(tag) - 1, len(text)), 0, -1)
    return next((size for size in sizes if text.endswith(tag[:size])), 0)


def _whole_call(body: str, tools: tuple[str, ...]) -> tuple[str, str] | None:
    """Return (tool, arguments) of a call in an unusual order, or None where it is none."""
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or call.get("name") not in tools:
        return None
    arguments = call.get("arguments", call.get("parameters", {}))
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return call["name"], written
