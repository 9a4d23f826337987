"""One server among those that answer for us: whether it is well, and answers from it."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release.serve.engines.dialect import (
    Dialect,
    Event,
    Heard,
    Served,
    UpstreamBroken,
    UpstreamFailed,
)
from aurora_release.serve.engines.protocol import (
    EngineError,
    GenerationRequest,
    Overloaded,
    Unsuitable,
)

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

LOOK_EVERY_SECONDS = 2.0
"""Between two looks at a server."""

LOOK_SECONDS = 5.0
"""How long a look may take."""

_MISSES = 3
"""Looks in a row without an answer: a busy server may miss one."""

SILENCE_SECONDS = 120.0
"""A server that says nothing for so long, in the middle of an answer or before it, has failed."""

LONGEST_REST = 30.0
"""Seconds that a server is left alone after it failed, at most; it begins with a quarter of one."""

_LONGEST_LINE = 1 << 20
"""Bytes of one event, at most."""

_LONGEST_ERROR = 1 << 16
"""Bytes that are read of an error, at most."""

_NOT_OURS = (400, 404, 405, 413, 422)
"""Statuses that speak of the request, not of the server."""

_STATUSES = {"validation": 422, "invalid_request_error": 400, "overloaded": 429}
"""Of errors in a stream, by their types."""

_MALFORMED = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)


class Replica:
    """A server at an address; every method runs in the engine's event loop."""

    def __init__(
        self, url: str, dialect: Dialect, key: str | None = None, socket: Path | None = None
    ):
        self.url = url
        self.served: Served | None = None
        """What it said it serves when it was last well; None before that."""
        self.well = False
        self.active = 0
        """Answers that are being made."""
        self._dialect = dialect
        self._key = key
        self._socket = socket
        self._failures = 0
        """In a row: a server that answers looks but fails requests rests longer each time."""
        self._misses = 0
        self._unseen = socket is None
        """What a first look finds is told; a child process takes its time, and is waited for."""
        self._rested = 0.0
        """When it may be asked again."""
        self._client: httpx.AsyncClient | None = None

    def open(self) -> None:
        """Make ready to ask."""
        import httpx

        headers = {"Accept-Encoding": "identity"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=5.0),
            # a proxy of the environment would read along
            transport=httpx.AsyncHTTPTransport(
                uds=None if self._socket is None else str(self._socket),
                # below what servers keep idle connections for: none is closed as it is used
                limits=httpx.Limits(max_connections=None, keepalive_expiry=2.0),
            ),
        )

    async def close(self) -> None:
        """Let go of all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def look(self) -> None:
        """Ask how the server is and what it serves."""
        assert self._client is not None
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                health = await self._client.get("/health")
                if health.status_code not in (200, 404):  # some have no such route
                    raise UpstreamFailed(f"its health check answers {health.status_code}")
                described = await self._client.get(self._dialect.description)
            _check(described.status_code, described.text)
            self.served = self._dialect.served(described.json())
        except TimeoutError:
            self._misses += 1
            if self._misses >= _MISSES:
                self._change(False, f"no answer within {LOOK_SECONDS:g} s, {_MISSES} times")
        except EngineError as error:
            self._change(False, str(error))
        except _network_errors() + _MALFORMED as error:
            self._change(False, _plainly(error))
        else:
            self._misses = 0
            self._change(time.monotonic() >= self._rested, "it failed a moment ago")

    def pause(self) -> float:
        """Return the seconds until the next look."""
        return max(LOOK_EVERY_SECONDS, self._rested - time.monotonic())

    def failed(self, error: EngineError) -> None:
        """Leave the server alone for a while."""
        rest = min(LONGEST_REST, 0.25 * 2**self._failures)
        self._failures += 1
        self._rested = time.monotonic() + rest
        self._change(False, str(error))

    def finished(self) -> None:
        """Note that an answer came to its end."""
        self._failures = 0

    def check(self, request: GenerationRequest) -> None:
        """Raise `Unsuitable` where the server cannot do what is asked, or cannot be asked it."""
        assert self.served is not None
        try:
            json.dumps(self._dialect.body(request, self.served), ensure_ascii=False).encode()
        except (ValueError, RecursionError):  # or it would look like a fault of the server
            raise Unsuitable("the schema of the answer is no JSON text") from None

    async def answer(self, request: GenerationRequest) -> AsyncGenerator[Heard, None]:
        """Yield the tokens of an answer, to its end.

        Raises:
            UpstreamFailed: the server failed; Overloaded: it takes no more; Unsuitable: it cannot
                do what is asked.
        """
        assert self._client is not None and self.served is not None
        body = self._dialect.body(request, self.served)
        read = self._dialect.reader(request)
        try:
            async with (
                self._client.stream(
                    "POST", self._dialect.generation, json=body, headers=request.trace
                ) as response,
                aclosing(_events(response)) as events,
            ):
                if response.status_code != 200:
                    _check(response.status_code, await _beginning(response))
                async for event in events:
                    _check_event(event)
                    self._misses = 0  # it may be too busy for looks, but it lives
                    for heard in read(event):
                        yield heard
                        if heard.ending is not None:
                            return
        except _network_errors() + _MALFORMED as error:
            # what an error says may hold words of the answer, which stay out of the log
            raise UpstreamBroken(_plainly(error)) from None
        raise UpstreamBroken("its answer ended in the middle")

    def _change(self, well: bool, why: str) -> None:
        if well != self.well or self._unseen:
            # a child has no address, only the name of its program in the place of one
            name = self.url if self._socket is None else self.url.removeprefix("http://")
            if well:
                logger.info("%s answers.", name)
            else:
                why = why if why.endswith((".", "?")) else f"{why}."
                logger.warning("%s is not well: %s It is looked at again.", name, why)
        self.well, self._unseen = well, False


def _plainly(error: Exception) -> str:
    """Return what went wrong with a connection, without a word of what was said over it."""
    import httpx

    kind = type(error).__name__
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
        return f"it cannot be reached ({kind})"
    if isinstance(error, httpx.TimeoutException):
        return f"it says nothing ({kind})"
    broken = isinstance(error, _network_errors()) and not isinstance(error, httpx.DecodingError)
    return f"the connection broke ({kind})" if broken else f"it breaks its protocol ({kind})"


def _network_errors() -> tuple[type[Exception], ...]:
    import httpx

    return (httpx.HTTPError, httpx.StreamError)


def _check(status: int, content: str) -> None:
    """Raise what a status other than 200 means."""
    if status == 200:
        return
    if status in _NOT_OURS:
        raise Unsuitable(_said(content) or f"The server behind this one answers {status}.")
    if status in (429, 503):
        raise Overloaded("The servers behind this one are busy.")
    hint = ": is the key right (--upstream-key-file)?" if status in (401, 403) else ""
    raise UpstreamFailed(f"it answers {status}{hint}")


async def _beginning(response: "httpx.Response") -> str:
    """Return what a server says of an error, as far as anybody would read it."""
    content = b""
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > _LONGEST_ERROR:
            break
    return content[:_LONGEST_ERROR].decode(errors="replace")


async def _events(response: "httpx.Response") -> AsyncGenerator[Event, None]:
    """Yield the events of a stream; comments and what is no data are skipped."""
    held = b""
    async for piece in response.aiter_raw():
        *lines, held = (held + piece).split(b"\n")
        if len(held) > _LONGEST_LINE:
            raise ValueError(f"an event is longer than {_LONGEST_LINE} bytes")
        for line in lines:
            data = line.removeprefix(b"data:").strip()
            if line.startswith(b"data:") and data != b"[DONE]":
                event = json.loads(data)
                if b"\\u" in data:  # half of a surrogate pair is not text, and raises here
                    json.dumps(event, ensure_ascii=False).encode()
                yield event


def _check_event(event: Event) -> None:
    """Raise what an error in a stream means: TGI names its type, vLLM its status."""
    error = event.get("error")
    if error is None:
        return
    named = error if isinstance(error, dict) else {}
    status = _STATUSES.get(event.get("error_type") or named.get("type") or "", named.get("code"))
    _check(status if isinstance(status, int) else 500, json.dumps(event))


def _said(content: str) -> str:
    """Return the message in the body of an error, if there is one."""
    try:
        body = json.loads(content)
        return _message(body.get("error") or body.get("message"))
    except _MALFORMED:
        return ""


def _message(error: Any) -> str:
    said = error.get("message", "") if isinstance(error, dict) else error
    return str(said or "")[:500]
