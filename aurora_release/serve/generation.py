"""Judged prompts in, judged text out: the one way from any route or page to the engine."""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakSet

from aurora_release.safety.guard import Verdict
from aurora_release.safety.stream import TEXT, Channel, Release
from aurora_release.serve import callers
from aurora_release.serve.admission import Admission
from aurora_release.serve.audit import Decision
from aurora_release.serve.channels import Form, Sorter, Written
from aurora_release.serve.engines.protocol import (
    Delta,
    DeltaStream,
    Ending,
    Engine,
    EngineError,
    GenerationRequest,
    Overloaded,
    Token,
    Unsuitable,
)
from aurora_release.serve.judging import Judge, Judging
from aurora_release.serve.meter import Meter
from aurora_release.serve.metrics import Metrics
from aurora_release.serve.outlet import HeldTokens, Outlet
from aurora_release.serve.recorder import Recorder
from aurora_release.serve.replies import ApiError, of_engine
from aurora_release.serve.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ask:
    """One answer that is wanted."""

    request: GenerationRequest
    judged: tuple[str, ...]
    """The texts of the prompt that must be allowed first."""
    form: Form = Form()
    """How the answer is written."""

    @property
    def tokens(self) -> int:
        """The tokens of the prompt, and the most that the answer may have."""
        return len(self.request.prompt) + self.request.max_new_tokens


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


MOST_UNREAD = 1000
"""Tokens that wait to be sent; the request of a client that lets more pile up is ended."""


class Answers:
    """The pieces of all answers to one request, as they come; closing it frees their slots."""

    def __init__(
        self,
        sources: Sequence[AsyncIterator[Piece]],
        streams: Sequence[DeltaStream] = (),
        deadline: float | None = None,
        left: Callable[[int], None] = lambda index: None,
    ):
        """`deadline`: when all must have ended, in the event loop's time.

        `left` is called with the index of each answer that no longer holds anything.
        """
        self.deadline = deadline
        self._streams = streams
        self._unread = 0
        self._pieces: asyncio.Queue[Piece | ApiError | asyncio.Task[None]] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._pump(source)) for source in sources]
        for index, task in enumerate(self._tasks):
            task.add_done_callback(self._pieces.put_nowait)
            task.add_done_callback(partial(_forward, left, index))

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Yield pieces until all answers have ended.

        Raises:
            ApiError: the engine failed, or the request was ended: see `end`.
        """
        left = len(self._tasks)
        while left:
            item = await self._next()
            if isinstance(item, Piece):
                self._unread -= len(item.tokens)
                yield item
                continue
            if isinstance(item, ApiError):
                raise item
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
        for stream in self._streams:  # a task that never began has closed nothing
            await stream.aclose()

    @property
    def running(self) -> bool:
        """Whether any of them is still made."""
        return not all(task.done() for task in self._tasks)

    def end(self, error: ApiError) -> None:
        """Free the slots now; whoever reads the pieces finds this error in place of the rest."""
        for task in self._tasks:
            task.cancel()
        while not self._pieces.empty():
            self._pieces.get_nowait()
        self._pieces.put_nowait(error)

    async def _next(self) -> "Piece | ApiError | asyncio.Task[None]":
        try:
            async with asyncio.timeout_at(self.deadline):
                return await self._pieces.get()
        except TimeoutError:
            self.end(ApiError("timeout", "The request took longer than this server allows."))
            return await self._pieces.get()

    async def _pump(self, source: AsyncIterator[Piece]) -> None:
        async for piece in source:
            self._unread += len(piece.tokens)
            if self._unread > MOST_UNREAD:
                self.end(ApiError("timeout", "The client reads more slowly than the model writes."))
                return
            self._pieces.put_nowait(piece)


class GuardedEngine:
    """An engine behind a guard; nothing reaches a client but through here."""

    def __init__(
        self, engine: Engine, guard: Judge, settings: Settings, metrics: Metrics | None = None
    ):
        """`metrics` are those of the server, where it serves other models too."""
        self.engine = engine
        self.metrics = metrics or Metrics(engine.stats)
        self._admission = Admission(engine, settings.most_waiting, settings.most_tokens)
        self._most_seconds = settings.most_seconds
        self._under_way: WeakSet[Answers] = WeakSet()
        self._guard = guard
        self._stream = settings.stream
        self._judging = Judging(guard, settings.stream.timeout_seconds, settings.fail_closed)
        self._audit = settings.audit_log

    def end(self) -> None:
        """End all answers under way with an error: the server does not wait any longer."""
        late = [answers for answers in self._under_way if answers.running]
        if late:
            logger.warning(
                "Requests not answered in time, each ended with an error: %d.", len(late)
            )
        for answers in late:
            answers.end(ApiError("failed", "The server is shutting down.", retry_after=1))

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
            ApiError: the engine is overloaded or does not run, or the client has used up what it
                may; nothing was started.
        """
        if (why := self.engine.refusal()) is not None:
            raise of_engine(why)  # before anything is judged for nothing
        begun, caller = time.monotonic(), callers.current()
        name = name or caller.request or uuid.uuid4().hex
        record = Recorder(name, self.metrics, caller, self._audit, listener)
        visit = self._admission.enter([ask.tokens for ask in asks], caller.usage)
        meters = [Meter(self.metrics, caller, visit, index, begun) for index in range(len(asks))]
        streams: list[DeltaStream] = []
        try:
            sources = await self._begin(asks, meters, record, streams)
        except BaseException as error:
            for stream in streams:
                await stream.aclose()
            visit.end()
            if isinstance(error, Overloaded):
                raise self._admission.refusal() from error
            if isinstance(error, EngineError):
                raise of_engine(error) from error
            raise
        answers = Answers(sources, streams, begun + self._most_seconds, visit.left)
        self._under_way.add(answers)
        return answers

    async def _begin(
        self,
        asks: Sequence[Ask],
        meters: Sequence[Meter],
        record: Recorder,
        streams: list[DeltaStream],
    ) -> list[AsyncIterator[Piece]]:
        """Return where the pieces of each answer come from; add to `streams` what was begun."""
        verdicts = {ask.judged: await self._judge_prompt(ask.judged, record) for ask in asks}
        sources: list[AsyncIterator[Piece]] = []
        for index, (ask, meter) in enumerate(zip(asks, meters, strict=True)):
            verdict = verdicts[ask.judged]
            if verdict.action == "block":
                meter.blocked()
                sources.append(self._refused(index, verdict))
                continue
            stream = self.engine.generate(meter.begin(ask.request, self.engine.facts.id))
            streams.append(stream)
            meter.prompt(ask.request)
            settle = partial(record.output, index)
            # an expression can ask for escapes as well as a schema
            json = ask.request.json_schema is not None or ask.request.regex is not None
            outlet = Outlet(self._judging, self._stream, settle, verdict.language, json)
            sources.append(self._answer(index, stream, _Way(outlet, ask.form), meter))
        return sources

    async def moderate(self, texts: Sequence[str], name: str) -> list[Verdict]:
        """Return the verdicts about texts, as if each were a prompt.

        Raises:
            ApiError: the guard gave no verdict.
        """
        record = Recorder(name, self.metrics, callers.current(), self._audit, None)
        verdicts = []
        for part, text in enumerate(texts):
            judged = await self._judging.judge((text,), "input")
            record.input(part, text, judged)
            if judged.failure is not None:
                raise ApiError("failed", "The filter could not judge the text; try again later.")
            verdicts.append(judged.verdict)
        return verdicts

    async def _judge_prompt(self, texts: Sequence[str], record: Recorder) -> Verdict:
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

    async def _fit_to_read(self, error: Unsuitable) -> Unsuitable:
        """Return why another server refuses a request, in its words where the guard allows them."""
        if self._stream.mode == "off":
            return error
        judged = await self._judging.judge((str(error),), "output")
        blocked = judged.verdict.action == "block"
        return Unsuitable("The server behind this one refuses the request.") if blocked else error

    async def _answer(
        self, index: int, stream: DeltaStream, way: "_Way", meter: Meter
    ) -> AsyncIterator[Piece]:
        """Yield what the filter lets out of one stream, or the refusal that ends it."""
        try:
            async with aclosing(stream):
                async for delta in stream:
                    meter.token(delta.waited)
                    if delta.prompt:
                        yield Piece(index, "", (), None, 0, prompt=delta.prompt)
                    pieces = await way.pieces(index, delta)
                    if any(piece.text for piece in pieces):
                        meter.text()
                    for piece in pieces:
                        yield piece
                    if way.blocked is not None:
                        break
        except Unsuitable as error:
            meter.failed(error)
            raise await self._fit_to_read(error) from None
        except BaseException as error:
            meter.failed(error)
            raise
        meter.ended("content_filter" if way.blocked is not None else delta.ending or "stop")
        if way.blocked is not None:
            meter.blocked()
            refusal = self._guard.refusal(way.blocked)
            yield Piece(index, refusal, (), "stop", delta.generated_tokens, way.blocked)


def _forward(left: Callable[[int], None], index: int, _: "asyncio.Task[None]") -> None:
    left(index)


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
        return [
            replace(
                piece,
                tokens=await self._outlet.beside(piece.tokens),
                generated_tokens=delta.generated_tokens,
            )
            for piece in left
        ]

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
