"""Connections that must say what they want in time: a slow request is cut, not waited for."""

import asyncio
from typing import TYPE_CHECKING, Any

from aurora_release.serve.settings import Settings

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

_ANSWER_SECONDS = 5.0
"""After the time for a body: how long its client may take to read that it was too slow."""


def protocol(settings: Settings) -> "type[H11Protocol]":
    """Return uvicorn's HTTP/1.1 with a limit on how long a request may take to arrive.

    uvicorn by itself waits for a header, and for the rest of a body that was answered already, as
    long as a byte comes now and then: connections that cost a client nothing would add up.
    """
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    seconds = {
        h11.IDLE: settings.header_seconds,
        h11.SEND_BODY: settings.body_seconds + _ANSWER_SECONDS,
    }
    """How long a client may take with the part that it is at."""

    class Timed(H11Protocol):
        _cut: asyncio.TimerHandle | None = None
        _at: tuple[Any, ...] = ()
        """The part of a request that is timed, and the request before it."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._time()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._time()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._cut is not None:
                self._cut.cancel()

        def _time(self) -> None:
            """Begin to time the part that the client is at, unless that is timed already."""
            at = (self.conn.their_state, self.cycle)
            if at == self._at:
                return
            self._at = at
            if self._cut is not None:
                self._cut.cancel()
            limit = seconds.get(at[0])
            self._cut = None if limit is None else self.loop.call_later(limit, self._end)

        def _end(self) -> None:
            self.transport.close()

    return Timed
