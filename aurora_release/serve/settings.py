"""What whoever runs a server may choose."""

from dataclasses import dataclass

from aurora_release.safety.policy import Stream
from aurora_release.serve.audit import AuditLog
from aurora_release.serve.keys import ApiKeys
from aurora_release.serve.quotas import QuotaFile
from aurora_release.serve.traces import Traces


@dataclass(frozen=True)
class Settings:
    """The limits and the keys of one server."""

    keys: ApiKeys | None = None
    """One of them is asked of every request but health checks; None asks for none."""
    quotas: QuotaFile | None = None
    """Where what keys used of their day outlives the server, if anywhere."""
    origins: tuple[str, ...] = ()
    """Web pages of these origins may call the server from a browser (CORS)."""
    stream: Stream = Stream()
    """What the output filter does, and how much text it holds back."""
    fail_closed: bool = True
    """Block what the judge failed to judge, or judged too slowly; False lets it pass, flagged."""
    audit_log: AuditLog | None = None
    """Where decisions are written, if anywhere."""
    traces: Traces = Traces()
    """Where the time of requests went, for OpenTelemetry; off unless told otherwise."""
    access_log: bool = False
    """Log a line for each request: who, which route, how it ended; nothing of what was said."""
    max_body_bytes: int = 2_000_000
    """Larger requests get status 413."""
    header_seconds: float = 10.0
    """A connection whose next request has no whole header by then is closed."""
    body_seconds: float = 30.0
    """A body that is not there by then gets status 408."""
    max_answers: int = 8
    """Answers of one request: prompts times `n`."""
    max_stop_strings: int = 4
    most_waiting: int = 64
    """Answers that wait for a slot; more get status 429."""
    most_tokens: int | None = None
    """Of all prompts and answers under way; None is four times what the slots can hold."""
    most_seconds: float = 600.0
    """A request takes no longer: it ends with status 504, a stream with an error."""
    drain_seconds: float = 30.0
    """How long running answers may go on after SIGTERM."""
    patience_seconds: float = 120.0
    """An engine that makes no token for so long, while requests wait for one, is restarted."""
    chat_page: bool = True
    """Mount the page at /chat."""
