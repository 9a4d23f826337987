"""Errors in the words of the protocol that was spoken: OpenAI below /v1, TGI elsewhere."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from starlette.responses import JSONResponse, Response

from aurora_release.serve.engines.protocol import EngineError, Overloaded, Unsuitable

_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""What JSON need not escape, and Python's HTTP clients take for the end of a line."""

Kind = Literal[
    "invalid", "unauthorized", "not_found", "too_large", "overloaded", "timeout", "failed"
]


@dataclass(frozen=True)
class _Shape:
    """How each protocol says one kind of error."""

    openai_status: int
    openai_type: str
    openai_code: str | None
    tgi_status: int
    tgi_type: str


_SHAPES: dict[Kind, _Shape] = {
    "invalid": _Shape(400, "invalid_request_error", None, 422, "validation"),
    "unauthorized": _Shape(401, "invalid_request_error", "invalid_api_key", 401, "unauthorized"),
    "not_found": _Shape(404, "invalid_request_error", "not_found", 404, "not_found"),
    "too_large": _Shape(413, "invalid_request_error", "request_too_large", 413, "validation"),
    "overloaded": _Shape(429, "rate_limit_error", "rate_limit_exceeded", 429, "overloaded"),
    "timeout": _Shape(504, "timeout_error", "timeout", 504, "timeout"),
    "failed": _Shape(503, "server_error", "engine_failed", 424, "generation"),
}


class ApiError(Exception):
    """A request that gets an error for an answer."""

    def __init__(
        self,
        kind: Kind,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after
        """Seconds; told where the same request may succeed later."""

    def status(self, path: str) -> int:
        """Return the status of its kind in the protocol that `path` belongs to."""
        shape = _SHAPES[self.kind]
        return shape.openai_status if path.startswith("/v1/") else shape.tgi_status


def of_engine(error: EngineError) -> ApiError:
    """Return what a client is told when an engine refuses or fails."""
    if isinstance(error, Overloaded):
        message = f"Model is overloaded: {error} Try again later."
        return ApiError("overloaded", message, retry_after=error.retry_after)
    if isinstance(error, Unsuitable):
        return ApiError("invalid", str(error))
    return ApiError("failed", str(error), retry_after=error.retry_after)


def body(path: str, error: ApiError) -> dict[str, Any]:
    """Return the JSON of an error in the shape of the protocol that `path` belongs to."""
    shape = _SHAPES[error.kind]
    if not path.startswith("/v1/"):
        prefix = "Input validation error: " if error.kind == "invalid" else ""
        return {"error": prefix + error.message, "error_type": shape.tgi_type}
    return {
        "error": {
            "message": error.message,
            "type": shape.openai_type,
            "param": error.param,
            "code": error.code or shape.openai_code,
        }
    }


def response(path: str, error: ApiError, status: int | None = None) -> Response:
    """Return the whole reply for an error, with the status of its kind if none is given."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.kind == "timeout":
        # OpenAI's client would send it again, to the same end
        headers["X-Should-Retry"] = "false"
    if error.kind == "unauthorized":
        # a browser that opens the chat page asks its user for the key
        scheme = "Basic" if path.startswith("/chat") else "Bearer"
        headers["WWW-Authenticate"] = f'{scheme} realm="aurora"'
    return JSONResponse(body(path, error), status or error.status(path), headers)


def event(data: Any, space: str = " ") -> str:
    """Return one server-sent event; TGI writes no space after the colon."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data:{space}{text.translate(_LINE_ENDS)}\n\n"
