"""What every request passes first: the key, the size of its body, and the count of answers."""

import base64
import binascii
import hmac

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aurora_release.serve.metrics import Metrics
from aurora_release.serve.replies import ApiError, response
from aurora_release.serve.settings import Settings


class Gate:
    """Turns away requests without the key or with too large a body, before anything reads them."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics):
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it with an error."""
        if scope["type"] == "websocket":  # nothing here speaks it
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.request(_route(scope), message["status"])
            await send(message)

        error = self._refusal(scope)
        if error is not None:
            await response(scope["path"], error)(scope, receive, counted)
            return
        await self._app(scope, self._limited(receive), counted)

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        is_health = scope["path"] == "/health" or (scope["method"], scope["path"]) == ("GET", "/")
        key = self._settings.api_key
        if key is not None and not is_health and not _holds(headers, key):
            return ApiError("unauthorized", "The API key is missing or wrong.")
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return ApiError("invalid", "Content-Length is not a number")
        return self._too_large() if int(length) > self._settings.max_body_bytes else None

    def _limited(self, receive: Receive) -> Receive:
        """Return `receive` for bodies that do not say their length."""
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._settings.max_body_bytes:
                raise HTTPException(413, self._too_large().message)
            return message

        return limited

    def _too_large(self) -> ApiError:
        limit = self._settings.max_body_bytes
        return ApiError("too_large", f"The body is larger than {limit} bytes.")


def _holds(headers: Headers, key: str) -> bool:
    """Return whether the request shows the key: as a bearer token, or as a browser's password."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            _, _, shown = base64.b64decode(shown, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(shown.strip().encode(), key.encode())


def _route(scope: Scope) -> str:
    """Return a label with few values: the path of the route, not that of the request."""
    route = getattr(scope.get("route"), "path", None)
    return str(route) if route else "other"
