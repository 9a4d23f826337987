"""Judged prompts in, judged text out: the one way from any route or page to the engine."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from aurora_release.safety.guard import Verdict
from aurora_release.safety.stream import TEXT, Outcome, Release, Segment
from aurora_release.serve.audit import AuditLog, Decision
from aurora_release.serve.engines.protocol import (
    DeltaStream,
    Ending,
    Engine,
    EngineError,
    GenerationRequest,
    Token,
)
from aurora_release.serve.judging import Judge, Judged, Judging
from aurora_release.serve.metrics import Metrics
from aurora_release.serve.outlet import HeldTokens, Outlet, Part
from aurora_release.serve.replies import of_engine
from aurora_release.serve.settings import Settings


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
    prompt: tuple[Token, ...] = ()
    """On a piece of its own, where asked for: the prompt's tokens, which the guard allowed."""


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

    def __init__(
        self, engine: Engine, guard: Judge, settings: Settings, metrics: Metrics | None = None
    ):
        """`metrics` are those of the server, where it serves other models too."""
        self.engine = engine
        self.metrics = metrics or Metrics(engine.stats)
        self._guard = guard
        self._stream = settings.stream
        self._judging = Judging(guard, settings.stream.timeout_seconds, settings.fail_closed)
        self._audit = settings.audit_log

    def close(self) -> None:
        """Let go of the judge's threads."""
        self._judging.close()

    @property
    def mode(self) -> str:
        """What the policy does to answers: `off`, `flag`, `redact` or `block`."""
        return self._stream.mode

    async def open(
        self,
        asks: Sequence[Ask],
        name: str = "",
        listener: Callable[[Decision], None] | None = None,
    ) -> Answers:
        """Judge the prompts, queue those that are allowed, and return the answers to come.

        `name` is the id of the request in the audit log; `listener` is told every decision, before
        what was decided about leaves.

        Raises:
            ApiError: the engine is overloaded or does not run; nothing was started.
        """
        begun = time.monotonic()
        record = _Recorder(name or uuid.uuid4().hex, self.metrics, self._audit, listener)
        verdicts = {ask.judged: await self._judge_prompt(ask.judged, record) for ask in asks}
        streams: list[DeltaStream] = []
        sources: list[AsyncIterator[Piece]] = []
        try:
            for index, ask in enumerate(asks):
                verdict = verdicts[ask.judged]
                if verdict.action == "block":
                    sources.append(self._refused(index, verdict))
                    continue
                stream = self.engine.generate(ask.request)
                streams.append(stream)
                settle = partial(record.output, index)
                outlet = Outlet(self._judging, self._stream, settle, verdict.language)
                sources.append(self._answer(index, stream, outlet, begun))
        except EngineError as error:
            for stream in streams:
                await stream.aclose()
            raise of_engine(error) from error
        self.metrics.tokens("prompt", sum(len(ask.request.prompt) for ask in asks))
        return Answers(sources)

    async def _judge_prompt(self, texts: Sequence[str], record: "_Recorder") -> Verdict:
        """Return the first verdict that blocks, or else that about the first text."""
        first: Verdict | None = None
        for part, text in enumerate(texts):
            judged = await self._judging.judge((text,), "input")
            record.input(part, text, judged)
            if judged.verdict.action == "block":
                return judged.verdict
            first = first or judged.verdict
        return first or Verdict("allow")

    async def _refused(self, index: int, verdict: Verdict) -> AsyncIterator[Piece]:
        yield Piece(index, self._guard.refusal(verdict), (), "stop", 0, verdict)

    async def _answer(
        self, index: int, stream: DeltaStream, outlet: Outlet, begun: float
    ) -> AsyncIterator[Piece]:
        """Yield what the filter lets out of one stream, or the refusal that ends it."""
        held = HeldTokens()
        delivered = False
        async with aclosing(stream):
            async for delta in stream:
                self.metrics.tokens("generated", 1)
                if delta.prompt:
                    yield Piece(index, "", (), None, 0, prompt=delta.prompt)
                held.add(delta.token, delta.text)
                ends = delta.ending is not None
                releases = await outlet.push(TEXT, delta.text, ends)
                parts = [part for release in releases for part in held.release(release)]
                if outlet.blocked is None and ends:
                    parts = _with_rest(parts, held.rest())
                if not delivered and any(text for text, _ in parts):
                    delivered = True
                    self.metrics.first_text(time.monotonic() - begun)
                last = len(parts) - 1 if outlet.blocked is None else None
                for place, (text, tokens) in enumerate(parts):
                    ending = delta.ending if place == last else None
                    yield Piece(index, text, tokens, ending, delta.generated_tokens)
                if outlet.blocked is not None:
                    break
        if outlet.blocked is not None:
            refusal = self._guard.refusal(outlet.blocked)
            yield Piece(index, refusal, (), "stop", delta.generated_tokens, outlet.blocked)


def _with_rest(parts: list[Part], rest: tuple[Token, ...]) -> list[Part]:
    """Return the last parts of an answer, with the tokens that have no text at their end."""
    if parts and (parts[-1][1] or not rest):
        text, tokens = parts[-1]
        return [*parts[:-1], (text, tokens + rest)]
    return [*parts, ("", rest)]


class _Recorder:
    """Counts and logs the decisions about one request."""

    def __init__(
        self,
        request: str,
        metrics: Metrics,
        audit: AuditLog | None,
        listener: Callable[[Decision], None] | None,
    ):
        self._request = request
        self._metrics = metrics
        self._audit = audit
        self._listener = listener

    def input(self, part: int, text: str, judged: Judged) -> None:
        """Record what was decided about a text of the prompt."""
        self._record(part, "input", Segment(TEXT, 0, text, ()), judged.verdict.action, judged)

    def output(self, part: int, release: Release, judged: Judged) -> None:
        """Record what was decided about a segment of an answer."""
        self._record(part, "output", release.segment, release.outcome, judged)

    def _record(
        self, part: int, direction: str, segment: Segment, action: Outcome, judged: Judged
    ) -> None:
        verdict, kind = judged.verdict, segment.channel.kind
        decision = Decision(
            request=self._request,
            part=part,
            direction=direction,
            channel=f"{kind} {segment.channel.index}" if kind == "tool" else kind,
            position=segment.position,
            characters=len(segment.text),
            action=action,
            category=verdict.category,
            score=verdict.score,
            language=verdict.language,
            guards=verdict.asked,
            failure=judged.failure,
            milliseconds=round(1000 * judged.seconds, 3),
        )
        self._metrics.decision(decision)
        if self._listener is not None:
            self._listener(decision)
        if self._audit is not None:
            self._audit.write(decision, segment.text)
