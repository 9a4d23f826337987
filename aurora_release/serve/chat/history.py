"""The conversation as the page keeps it, in the browser: messages, and notes below answers."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any, TypeVar

from aurora_release.serve.chat.notes import note
from aurora_release.serve.chat.talk import Progress
from aurora_release.serve.chat.words import word
from aurora_release.serve.prompts import Message

T = TypeVar("T")

Entry = dict[str, Any]
"""A message of Gradio's: `role`, `content`, and `metadata`, whose `title` makes it a note."""

_BLOCKED, _ANSWERED = "blocked", "answered"


def turns(history: Iterable[Entry], system: str) -> list[Message]:
    """Return the conversation as the model is to read it.

    Notes are no part of it, nor questions that nobody answered, nor those that were blocked with
    their refusals: the guard judges the whole conversation, so one would block all that follow.
    """
    kept: list[Message] = []
    for entry in history:
        text = plain(entry["content"])
        mark = _mark(entry)
        if mark == _BLOCKED:
            kept = kept[:-2]
        elif entry["role"] == "user":
            if kept and kept[-1].role == "user":
                kept.pop()
            kept.append(Message("user", text))
        elif mark is None and text.strip():
            kept.append(Message("assistant", text))
    return [Message("system", system), *kept] if system.strip() else kept


def answered(history: Sequence[Entry], now: Progress, language: str) -> list[Entry]:
    """Return a history with an answer as far as it has come, and the note once it has ended."""
    said = [{"role": "assistant", "content": now.text}] if now.text else []
    if not now.ended:
        return [*history, *said]
    found = note(now, language)
    mark = _BLOCKED if now.blocked else _ANSWERED
    return [*history, *said, _note(found.title, found.lines, found.alarming, mark)]


def stopped(history: Sequence[Entry], language: str) -> list[Entry]:
    """Return a history whose last answer was stopped, with a note that says so."""
    if not history or _mark(history[-1]) is not None:
        return list(history)
    return [*history, _note(word(language, "stopped"), (), False, _ANSWERED)]


def through(history: Sequence[Entry], later: int = 0) -> list[Entry]:
    """Return a history up to the question that has so many `later` ones; empty if there is none."""
    asked = [place for place, entry in enumerate(history) if entry["role"] == "user"]
    return list(history[: asked[-1 - later] + 1]) if later < len(asked) else []


def later(history: Sequence[Entry], place: int) -> int:
    """Return how many questions stand after the entry at `place`."""
    return sum(entry["role"] == "user" for entry in history[place + 1 :])


def asking(history: Sequence[Entry], text: str) -> list[Entry]:
    """Return a history with one more question."""
    return [*history, {"role": "user", "content": text}]


def plain(content: Any) -> str:
    """Return the text of a message, which Gradio gives as a string or as a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


async def together(
    sources: Sequence[AsyncGenerator[T]], latest: list[T]
) -> AsyncGenerator[list[T]]:
    """Yield the latest of every source whenever one has something new; `latest` is before that."""
    news: asyncio.Queue[tuple[int, T] | None] = asyncio.Queue()

    async def pump(place: int, source: AsyncGenerator[T]) -> None:
        async for item in source:
            news.put_nowait((place, item))

    pumps = [asyncio.create_task(pump(*each)) for each in enumerate(sources)]
    for task in pumps:
        task.add_done_callback(lambda _: news.put_nowait(None))
    try:
        left = len(pumps)
        while left:
            new = await news.get()
            if new is None:
                left -= 1
                continue
            latest[new[0]] = new[1]
            yield list(latest)
        for task in pumps:
            task.result()
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


def _mark(entry: Entry) -> str | None:
    """Return how a note marks the answer above it; None where the entry is no note."""
    metadata = entry.get("metadata") or {}
    return str(metadata.get("id")) if metadata.get("title") else None


def _note(title: str, lines: Iterable[str], alarming: bool, mark: str) -> Entry:
    metadata = {"title": title, "id": mark}
    # Gradio folds what is done, and leaves open what has no status
    if not alarming:
        metadata["status"] = "done"
    content = "\n".join(f"- {line}" for line in lines)
    return {"role": "assistant", "content": content, "metadata": metadata}
