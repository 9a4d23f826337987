"""The line of a request in the log: who asked, and what became of it; no text is in it."""

import logging

from aurora_release.serve.callers import Caller

logger = logging.getLogger(__name__)


def write(caller: Caller, method: str, route: str, status: int, seconds: float) -> None:
    """Write the line; `route` is the path as the server knows it, not as it was asked."""
    fields = {
        "request": caller.request,
        "key": caller.key,
        "method": method,
        "route": route,
        "status": status,
        "seconds": round(seconds, 3),
        "prompt_tokens": caller.prompt_tokens,
        "generated_tokens": caller.generated_tokens,
        "blocked": caller.blocked,
        "failed": caller.failed,
    }
    words = " ".join(f"{name}={value}" for name, value in fields.items())
    logger.info("%s", words, extra={"fields": fields})
