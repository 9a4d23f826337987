"""What every request passes first: its id, its key, the size of its body, its line in the log."""

import asyncio
import base64
import binascii
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aurora_release.serve import access, callers
from aurora_release.serve.callers import Caller, Usages
from aurora_release.serve.metrics import Metrics
from aurora_release.serve.replies import ApiError, response
from aurora_release.serve.settings import Settings

REQUEST_ID = "X-Request-Id"

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
}

_OPEN = ("/health", "/health/live", "/health/ready")
"""What a probe may ask without a key."""


class Gate:
    """Turns away requests without a key or with too large a body, before anything reads them."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, usages: Usages):
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._usages = usages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer it with an error."""
        if scope["type"] == "websocket":  # nothing here speaks it
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 499
        headers = Headers(scope=scope)
        name = _request_id(headers)
        trace = self._settings.traces.request(scope["method"], scope["path"], headers, name)
        caller = Caller(name, trace=trace)

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._metrics.request(scope["method"], _route(scope), status, caller.key)
                _mark(message, caller)
            await send(message)

        try:
            if error := self._refusal(scope, headers, caller):
                await response(scope["path"], error)(scope, receive, marked)
            else:
                callers.enter(caller)
                scope.setdefault("state", {})["caller"] = caller
                await self._app(scope, self._limited(receive), marked)
        finally:
            trace.end(scope["method"], _route(scope), status)
            if self._settings.access_log:
                seconds = time.monotonic() - begun
                access.write(caller, scope["method"], _route(scope), status, seconds)

    def _refusal(self, scope: Scope, headers: Headers, caller: Caller) -> ApiError | None:
        """Return why a request is turned away, if it is; else write into `caller` who sent it."""
        is_open = scope["path"] in _OPEN or (scope["method"], scope["path"]) == ("GET", "/")
        if self._settings.keys is not None and not is_open:
            key = self._settings.keys.find(_shown(headers))
            if key is None:
                return ApiError("unauthorized", _without_key(scope["path"]))
            caller.key, caller.usage = key.name, self._usages.of(key)
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            return ApiError("invalid", "Content-Length is not a number")
        return self._too_large() if int(length) > self._settings.max_body_bytes else None

    def _limited(self, receive: Receive) -> Receive:
        """Return `receive` for bodies that do not say their length, or take their time."""
        size = 0
        deadline: float | None = asyncio.get_running_loop().time() + self._settings.body_seconds

        async def limited() -> Message:
            nonlocal size, deadline
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "The body did not come in time.") from None
            size += len(message.get("body", b""))
            if size > self._settings.max_body_bytes:
                raise HTTPException(413, self._too_large().message)
            if not message.get("more_body", False):
                deadline = None  # from here on, `receive` waits for the client to leave
            return message

        return limited

    def _too_large(self) -> ApiError:
        limit = self._settings.max_body_bytes
        return ApiError("too_large", f"The body is larger than {limit} bytes.")


_AS = "It is sent as `Authorization: Bearer KEY`"


def _without_key(path: str) -> str:
    """Return what is said to a client that shows no key of ours."""
    how = "Reload the page to give another" if path.startswith("/chat/") else _AS
    return f"The API key is missing, wrong, or was taken back. {how}."


def _request_id(headers: Headers) -> str:
    """Return the id that came with a request, if it is fit for a log, or else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def _shown(headers: Headers) -> str:
    """Return the key that a request shows: as a bearer token, or as a browser's password."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return shown.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(shown, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _mark(message: Message, caller: Caller) -> None:
    """Add what stands in every reply; what a route set itself stays."""
    headers = MutableHeaders(scope=message)
    headers[REQUEST_ID] = caller.request
    for name, value in _SECURITY.items():
        headers.setdefault(name, value)


def _route(scope: Scope) -> str:
    """Return a label with few values: the path of the route, not that of the request."""
    route = getattr(scope.get("route"), "path", None)
    if route is None and "app" in scope:  # refused before a route was found
        route = scope["path"] if scope["path"] in scope["app"].openapi()["paths"] else None
    # the chat page lies below a path of its own, and its routes begin there
    return f"{scope.get('root_path', '')}{route}" if route else "other"
