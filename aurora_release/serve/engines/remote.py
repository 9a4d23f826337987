"""An engine that asks other servers: the least loaded one, and another while nothing is said."""

import asyncio
import logging
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from aurora_release.serve.engines.dialect import UpstreamBroken, UpstreamFailed
from aurora_release.serve.engines.job import Answer, JobStream
from aurora_release.serve.engines.protocol import (
    EngineError,
    EngineStats,
    GenerationRequest,
    ModelFacts,
    Overloaded,
    Unsuitable,
)
from aurora_release.serve.engines.replica import Replica
from aurora_release.serve.engines.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

MOST_EACH = 256
"""Answers at the same time, for each server: as many as vLLM makes at once by itself."""

_DEFAULT_TOKENS = 2048
"""Prompt and answer together where neither the model folder nor a server says."""

_NOBODY = "None of the servers behind this one answers; try again later."


class RemoteAnswer(Answer):
    """An answer that comes over the network, by a task of the engine's event loop."""

    task: "Future[None] | None" = None

    def cancel(self) -> None:
        """Close the connection that the answer comes by, which ends it at the other end too."""
        super().cancel()
        if self.task is not None:
            self.task.cancel()


class RemoteEngine:
    """Generates on other servers, in an event loop of its own."""

    def __init__(self, replicas: Sequence[Replica], tokenizer: Any, facts: ModelFacts):
        self.tokenizer = tokenizer
        self.facts = facts
        """Its `max_total_tokens` is 0 where the folder does not say, until a server does."""
        self._longest = facts.max_total_tokens
        self._replicas = tuple(replicas)
        self._vocabulary = Vocabulary(tokenizer)
        self._answers: set[RemoteAnswer] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._watches: list[asyncio.Task[None]] = []
        """Held, so that they are not collected."""

    def start(self) -> None:
        """Look at every server once; those that do not answer are looked at again and again."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="remote", daemon=True)
        self._thread.start()
        self._call(self._open())

    def stop(self) -> None:
        """Close all connections; requests that are still running fail."""
        if self._loop is None or self._thread is None:
            return
        for answer in tuple(self._answers):
            answer.deliver(EngineError("The server is shutting down; try again later."))
            answer.cancel()
        self._call(self._close())
        loop, self._loop = self._loop, None
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    def generate(self, request: GenerationRequest) -> JobStream:
        """Send a request on, inside a running event loop.

        Raises:
            Overloaded: as many answers are being made as may be.
            Unsuitable: the servers cannot do what is asked.
            EngineError: no server answers.
        """
        if (why := self.refusal()) is not None or self._loop is None:
            raise why or EngineError(_NOBODY)
        well = [each for each in self._replicas if each.well]
        if len(self._answers) >= MOST_EACH * len(well):
            raise Overloaded(f"{len(self._answers)} answers are being made already.")
        well[0].check(request)
        answer = RemoteAnswer(request, self._vocabulary.decode)
        self._answers.add(answer)
        answer.task = asyncio.run_coroutine_threadsafe(self._make(answer), self._loop)
        answer.task.add_done_callback(partial(self._ended, answer))
        return JobStream(answer)

    def refusal(self) -> EngineError | None:
        """Return why nothing can be generated now, if that is so."""
        well = any(each.well for each in self._replicas)
        return None if well and self._loop is not None else EngineError(_NOBODY)

    def stats(self) -> EngineStats:
        """Return what the engine is doing now."""
        well = sum(each.well for each in self._replicas)
        ready = self._loop is not None and well > 0
        return EngineStats(ready, len(self._answers), 0, MOST_EACH * well, waits=True)

    async def _make(self, answer: RemoteAnswer) -> None:
        """Fill an answer from one server, or from another as long as none has said anything."""
        reason: EngineError = EngineError(_NOBODY)
        asked: set[Replica] = set()
        while (replica := self._least_loaded(asked)) is not None:
            asked.add(replica)
            try:
                await self._fill(answer, replica)
                return
            except EngineError as error:
                if isinstance(error, UpstreamBroken):
                    replica.failed(error)
                begun = answer.length > len(answer.request.prompt)
                reason = _told(error, begun)
                if begun or isinstance(error, Unsuitable):
                    break
        answer.deliver(reason)

    def _ended(self, answer: RemoteAnswer, task: "Future[None]") -> None:
        """Forget an answer, and fail it where its task did: nobody waits for what never comes."""
        self._answers.discard(answer)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("An answer failed.", exc_info=error)
            answer.deliver(EngineError("The server failed; try again later."))

    def _least_loaded(self, asked: set[Replica]) -> Replica | None:
        """Return the server to ask next; each is asked once for the same answer."""
        able = [each for each in self._replicas if each.well and each not in asked]
        return min(able, key=lambda each: each.active, default=None)

    async def _fill(self, answer: RemoteAnswer, replica: Replica) -> None:
        replica.active += 1
        try:
            async with aclosing(replica.answer(answer.request)) as tokens:
                async for heard in tokens:
                    answer.prompt = heard.prompt or answer.prompt
                    full = heard.ending == "length"
                    answer.take(heard.token, heard.ending == "eos", full, heard.text)
                    if answer.ended:
                        replica.finished()
                        return
        finally:
            replica.active -= 1

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the engine's event loop and wait for it."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> None:
        for replica in self._replicas:
            replica.open()
        await asyncio.gather(*(self._look(replica) for replica in self._replicas))
        self._watches = [asyncio.create_task(self._watch(each)) for each in self._replicas]

    async def _watch(self, replica: Replica) -> None:
        while True:
            await asyncio.sleep(replica.pause())
            await self._look(replica)

    async def _look(self, replica: Replica) -> None:
        """Look at a server; the least that any takes of prompt and answer is what we take."""
        await replica.look()
        said = [each.served.longest for each in self._replicas if each.served is not None]
        lengths = [length for length in (self._longest, *said) if length]
        longest = min(lengths, default=_DEFAULT_TOKENS)
        if longest != self.facts.max_total_tokens:
            self.facts = replace(self.facts, max_total_tokens=longest)

    async def _close(self) -> None:
        running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for replica in self._replicas:
            await replica.close()


def _told(error: EngineError, begun: bool) -> EngineError:
    """Return what whoever asked is told of what a server answered."""
    if begun:
        return EngineError("A server failed in the middle of this answer; ask again.")
    return EngineError(_NOBODY) if isinstance(error, UpstreamFailed) else error
