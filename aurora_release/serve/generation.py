"""Judged prompts in, judged text out: the one way from any route or page to the engine."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from aurora_release.safety.guard import Verdict
from aurora_release.safety.stream import TEXT, Channel, Outcome, Release, Segment
from aurora_release.serve.audit import AuditLog, Decision
from aurora_release.serve.channels import Form, Sorter, Written
from aurora_release.serve.engines.protocol import (
    Delta,
    DeltaStream,
    Ending,
    Engine,
    EngineError,
    GenerationRequest,
    Token,
)
from aurora_release.serve.judging import Judge, Judged, Judging
from aurora_release.serve.metrics import Metrics
from aurora_release.serve.outlet import HeldTokens, Outlet
from aurora_release.serve.replies import ApiError, of_engine
from aurora_release.serve.settings import Settings


@dataclass(frozen=True)
class Ask:
    """One answer that is wanted."""

    request: GenerationRequest
    judged: tuple[str, ...]
    """The texts of the prompt that must be allowed first."""
    form: Form = Form()
    """How the answer is written."""


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
    channel: Channel = TEXT
    """Where `text` belongs; the refusal is always text."""
    tool: str = ""
    """The tool that is called, on the first piece of a call."""


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

    def __init__(self, engine: Engine, guard: Judge, settings: Settings):
        self.engine = engine
        self.metrics = Metrics(engine.stats)
        self._guard = guard
        self._stream = settings.stream
        self._judging = Judging(guard, settings.stream.timeout_seconds, settings.fail_closed)
        self._audit = settings.audit_log

    def close(self) -> None:
        """Let go of the judge's threads."""
        self._judging.close()

    async def open(self, asks: Sequence[Ask], name: str = "") -> Answers:
        """Judge the prompts, queue those that are allowed, and return the answers to come.

        `name` is the id of the request in the audit log.

        Raises:
            ApiError: the engine is overloaded or does not run; nothing was started.
        """
        begun = time.monotonic()
        record = _Recorder(name or uuid.uuid4().hex, self.metrics, self._audit)
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
                sources.append(self._answer(index, stream, _Way(outlet, ask.form), begun))
        except EngineError as error:
            for stream in streams:
                await stream.aclose()
            raise of_engine(error) from error
        self.metrics.tokens("prompt", sum(len(ask.request.prompt) for ask in asks))
        return Answers(sources)

    async def moderate(self, texts: Sequence[str], name: str) -> list[Verdict]:
        """Return the verdicts about texts, as if each were a prompt.

        Raises:
            ApiError: the guard gave no verdict.
        """
        record = _Recorder(name, self.metrics, self._audit)
        verdicts = []
        for part, text in enumerate(texts):
            judged = await self._judging.judge((text,), "input")
            record.input(part, text, judged)
            if judged.failure is not None:
                raise ApiError("failed", "The filter could not judge the text; try again later.")
            verdicts.append(judged.verdict)
        return verdicts

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
        self, index: int, stream: DeltaStream, way: "_Way", begun: float
    ) -> AsyncIterator[Piece]:
        """Yield what the filter lets out of one stream, or the refusal that ends it."""
        delivered = False
        async with aclosing(stream):
            async for delta in stream:
                self.metrics.tokens("generated", 1)
                if delta.prompt:
                    yield Piece(index, "", (), None, 0, prompt=delta.prompt)
                pieces = await way.pieces(index, delta)
                if not delivered and any(piece.text for piece in pieces):
                    delivered = True
                    self.metrics.first_text(time.monotonic() - begun)
                for piece in pieces:
                    yield piece
                if way.blocked is not None:
                    break
        if way.blocked is not None:
            refusal = self._guard.refusal(way.blocked)
            yield Piece(index, refusal, (), "stop", delta.generated_tokens, way.blocked)


class _Way:
    """The way of one answer from the engine out: sorted into channels, judged, made pieces."""

    def __init__(self, outlet: Outlet, form: Form):
        self._outlet = outlet
        self._sorter = Sorter(form)
        self._held = HeldTokens()
        self._tools: dict[Channel, str] = {}
        """The tools of calls of which nothing has left yet."""

    @property
    def blocked(self) -> Verdict | None:
        """Why nothing leaves any more."""
        return self._outlet.blocked

    async def pieces(self, index: int, delta: Delta) -> list[Piece]:
        """Return what may leave now; the last piece of an answer carries its ending."""
        written = self._sorter.push(delta.text)
        if delta.ending is not None:
            written += self._sorter.finish()
        self._held.add(delta.token, "".join(one.text for one in written if one.channel == TEXT))
        releases = await self._releases(written, delta.ending is not None)
        left = [piece for release in releases for piece in self._of_release(index, release)]
        if delta.ending is not None and self.blocked is None:
            left = _ended(left, self._held.rest(), Piece(index, "", (), delta.ending, 0))
        return [replace(piece, generated_tokens=delta.generated_tokens) for piece in left]

    async def _releases(self, written: Sequence[Written], last: bool) -> list[Release]:
        releases: list[Release] = []
        for one in written:
            if one.tool:
                self._tools[one.channel] = one.tool
            releases += await self._outlet.push(one.channel, one.text)
        return releases + (await self._outlet.finish() if last else [])

    def _of_release(self, index: int, release: Release) -> Iterator[Piece]:
        channel = release.segment.channel
        if channel == TEXT:
            for text, tokens in self._held.release(release):
                yield Piece(index, text, tokens, None, 0)
        elif release.text:
            tool = self._tools.pop(channel, "")
            yield Piece(index, release.text, (), None, 0, channel=channel, tool=tool)


def _ended(pieces: list[Piece], rest: tuple[Token, ...], end: Piece) -> list[Piece]:
    """Return the last pieces of an answer, with the tokens that have no text at their end."""
    if pieces and (pieces[-1].tokens or not rest):
        last = pieces[-1]
        return [*pieces[:-1], replace(last, tokens=last.tokens + rest, ending=end.ending)]
    return [*pieces, replace(end, tokens=rest)]


class _Recorder:
    """Counts and logs the decisions about one request."""

    def __init__(self, request: str, metrics: Metrics, audit: AuditLog | None):
        self._request = request
        self._metrics = metrics
        self._audit = audit

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
        if self._audit is not None:
            self._audit.write(decision, segment.text)
