"""Judged prompts in, judged text out: the one way from any route or page to the engine."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from aurora_release.safety.guard import Verdict
from aurora_release.safety.policy import Stream
from aurora_release.safety.stream import StreamFilter
from aurora_release.serve.engines.protocol import (
    Delta,
    DeltaStream,
    Ending,
    Engine,
    EngineError,
    GenerationRequest,
    Token,
)
from aurora_release.serve.metrics import Metrics
from aurora_release.serve.replies import of_engine


class Judge(Protocol):
    """What the filter needs of a guard (`aurora_release.safety.guard.Guard` is one)."""

    def judge(self, text: str, direction: Literal["input", "output"]) -> Verdict:
        """Return the verdict about a text."""

    def refusal(self, verdict: Verdict) -> str:
        """Return what the user reads in place of a blocked text."""


@dataclass(frozen=True)
class Ask:
    """One answer that is wanted."""

    request: GenerationRequest
    judged: tuple[str, ...]
    """The texts of the prompt that must be allowed first."""


@dataclass(frozen=True)
class Piece:
    """The next part of one answer; everything in it was judged."""

    index: int
    """Which ask it answers."""
    text: str
    tokens: tuple[Token, ...]
    """The generated tokens whose text is in `text`, each with its share of it."""
    ending: Ending | None
    generated_tokens: int
    blocked: Verdict | None = None
    """Set on the last piece of a blocked answer, whose `text` is then the refusal."""


class Answers:
    """The pieces of all answers to one request, as they come; closing it frees their slots."""

    def __init__(self, sources: Sequence[AsyncIterator[Piece]]):
        self._pieces: asyncio.Queue[Piece | asyncio.Task[None]] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._pump(source)) for source in sources]
        for task in self._tasks:
            task.add_done_callback(self._pieces.put_nowait)

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Yield pieces until all answers have ended.

        Raises:
            ApiError: the engine failed.
        """
        left = len(self._tasks)
        while left:
            item = await self._pieces.get()
            if isinstance(item, Piece):
                yield item
                continue
            left -= 1
            try:
                item.result()
            except EngineError as error:
                raise of_engine(error) from error

    async def aclose(self) -> None:
        """Cancel what still runs and wait until it has let go of the engine."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _pump(self, source: AsyncIterator[Piece]) -> None:
        async for piece in source:
            self._pieces.put_nowait(piece)


class GuardedEngine:
    """An engine behind a guard; nothing reaches a client but through here."""

    def __init__(self, engine: Engine, guard: Judge, stream: Stream):
        self.engine = engine
        self._stream = stream
        self.metrics = Metrics(engine.stats)
        self._guard = guard

    async def open(self, asks: Sequence[Ask]) -> Answers:
        """Judge the prompts, queue those that are allowed, and return the answers to come.

        Raises:
            ApiError: the engine is overloaded or does not run; nothing was started.
        """
        begun = time.monotonic()
        verdicts = {ask.judged: await self._judge_prompt(ask.judged) for ask in asks}
        streams: list[DeltaStream] = []
        sources: list[AsyncIterator[Piece]] = []
        try:
            for index, ask in enumerate(asks):
                blocked = verdicts[ask.judged]
                if blocked is not None:
                    sources.append(self._refused(index, blocked))
                    continue
                stream = self.engine.generate(ask.request)
                streams.append(stream)
                sources.append(self._answer(index, stream, begun))
        except EngineError as error:
            for stream in streams:
                await stream.aclose()
            raise of_engine(error) from error
        self.metrics.tokens("prompt", sum(len(ask.request.prompt) for ask in asks))
        return Answers(sources)

    async def _judge_prompt(self, texts: Sequence[str]) -> Verdict | None:
        """Return the first verdict that blocks, or None."""
        for text in texts:
            verdict = await asyncio.to_thread(self._guard.judge, text, "input")
            if verdict.action == "block":
                self.metrics.blocked("input", verdict.category)
                return verdict
        return None

    async def _refused(self, index: int, verdict: Verdict) -> AsyncIterator[Piece]:
        yield Piece(index, self._guard.refusal(verdict), (), "stop", 0, verdict)

    async def _answer(self, index: int, stream: DeltaStream, begun: float) -> AsyncIterator[Piece]:
        """Yield what the filter lets out of one stream, or the refusal that ends it."""
        outlet = StreamFilter(
            lambda text: self._guard.judge(text, "output"), **self._stream.model_dump()
        )
        held = _HeldTokens()
        delivered = False
        async with aclosing(stream):
            async for delta in stream:
                released = await asyncio.to_thread(outlet.feed, delta.text)
                if delta.ending is not None:
                    released += await asyncio.to_thread(outlet.finish)
                text, tokens = held.release(delta, released)
                if text and not delivered:
                    delivered = True
                    self.metrics.first_text(time.monotonic() - begun)
                self.metrics.tokens("generated", 1)
                if outlet.blocked is not None:
                    yield Piece(index, text, tokens, None, delta.generated_tokens)
                    break
                yield Piece(index, text, tokens, delta.ending, delta.generated_tokens)
        if outlet.blocked is not None:
            self.metrics.blocked("output", outlet.blocked.category)
            refusal = self._guard.refusal(outlet.blocked)
            yield Piece(index, refusal, (), "stop", delta.generated_tokens, outlet.blocked)


class _HeldTokens:
    """Keeps tokens back until the filter has released all of their text."""

    def __init__(self) -> None:
        self._tokens: deque[tuple[Token, int]] = deque()
        """Each with the length of its text."""
        self._text = ""

    def release(self, delta: Delta, released: str) -> tuple[str, tuple[Token, ...]]:
        """Take one token and what the filter let out after it; return what may be sent."""
        self._tokens.append((delta.token, len(delta.text)))
        self._text += released
        tokens: list[Token] = []
        end = 0
        for _ in range(self._ready(all_out=delta.ending is not None)):
            token, size = self._tokens.popleft()
            tokens.append(replace(token, text=self._text[end : end + size]))
            end += size
        text, self._text = self._text[:end], self._text[end:]
        return text, tuple(tokens)

    def _ready(self, all_out: bool) -> int:
        """Return how many tokens may leave.

        A token without text of its own (a part of a character) belongs to the text that follows
        it, and leaves with that, or at the end.
        """
        ready = end = 0
        for place, (_, size) in enumerate(self._tokens, 1):
            end += size
            if end > len(self._text):
                break
            if size or all_out:
                ready = place
        return ready
