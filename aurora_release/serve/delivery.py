"""How answers travel: as server-sent events or whole, and never longer than someone listens."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from aurora_release.serve.generation import Answers

T = TypeVar("T")

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 10.0
"""A stream that the filter or a queue holds back is not silent for longer: proxies would end it."""

FLUSH_SECONDS = 30.0
"""How long after its deadline a stream may take to be read to its end."""


class EventStream(StreamingResponse):
    """Server-sent events made of answers, which are closed when the client is gone."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], answers: Answers):
        super().__init__(
            _kept_alive(events), headers={"X-Accel-Buffering": "no", "Cache-Control": "no-cache"}
        )
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; also when sending fails before the first of them, free the slots."""
        latest = self._answers.deadline
        try:
            async with asyncio.timeout_at(None if latest is None else latest + FLUSH_SECONDS):
                await super().__call__(scope, receive, send)
        except TimeoutError:
            # a client that stopped reading: what it was sent is still on its way, so nothing can
            # be added, and the HTTP server cuts the connection
            logger.warning("A client took too long to read its answer, and was cut off.")
        finally:
            await self._answers.aclose()


async def _kept_alive(events: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield the events, and a comment, which clients skip, where none comes for a while."""
    coming: asyncio.Future[str] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({coming}, timeout=KEEP_ALIVE_SECONDS)
            if not done:
                yield ": keep-alive\n\n"
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield event
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def unless_gone(request: Request, work: Coroutine[None, None, Response]) -> Response:
    """Return the response that `work` makes, or cancel it when the client disconnects."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else Response(status_code=499)
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
