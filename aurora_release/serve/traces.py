"""OpenTelemetry traces: where the time of a request went, without a word of what was said.

A request has a span, and below it one for each text that was judged and one for each answer, with
its wait for a slot and the time until the engine's first token.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aurora_release import __version__
from aurora_release.errors import AuroraError

if TYPE_CHECKING:
    from aurora_release.serve.audit import Decision
    from aurora_release.serve.engines.protocol import GenerationRequest

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_CLOSE_SECONDS = 5.0
"""How long a collector that does not answer may hold up the end of the server."""

_CONTEXT = TraceContextTextMapPropagator()

_SAMPLING = ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")
"""Fields of a request that the semantic conventions for generative AI have names for."""

_REASONS = {"eos": "stop"}


class AnswerTrace:
    """The span of one answer; it ends once."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span, begun: int):
        self._tracer = tracer
        self._span = span
        self._begun = begun
        """Nanoseconds since 1970, as all times here."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What a server that is asked in turn is told of this trace."""
        carrier: dict[str, str] = {}
        _CONTEXT.inject(carrier, trace.set_span_in_context(self._span))
        return tuple(carrier.items())

    def first_token(self, waited: float | None) -> None:
        """Record the engine's first token; `waited`: seconds for a slot, where that is known."""
        now = time.time_ns()
        begun = self._begun + round(1e9 * (waited or 0.0))
        if waited is not None:
            self._part("queue", self._begun, begun)
        self._part("first token", begun, max(now, begun))

    def end(self, reason: str, prompt_tokens: int, generated_tokens: int) -> None:
        """Record how the answer ended, and after how many tokens."""
        self._span.set_attributes(
            {
                "gen_ai.response.finish_reasons": [_REASONS.get(reason, reason)],
                "gen_ai.usage.input_tokens": prompt_tokens,
                "gen_ai.usage.output_tokens": generated_tokens,
            }
        )
        self._span.end()

    def fail(self, error: BaseException) -> None:
        """Record that the answer came to no end; of an error its kind alone is told."""
        self._span.set_attribute("error.type", type(error).__name__)
        self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()

    def _part(self, name: str, begun: int, ended: int) -> None:
        context = trace.set_span_in_context(self._span)
        self._tracer.start_span(name, context, start_time=begun).end(ended)


class Trace:
    """The trace of one request."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span, operation: str):
        self._tracer = tracer
        self._span = span
        self._operation = operation

    def judged(self, decision: "Decision") -> None:
        """Record a text that was judged a moment ago."""
        now = time.time_ns()
        told = {
            "aurora.answer.index" if decision.direction == "output" else "aurora.prompt.part": (
                decision.part
            ),
            "aurora.filter.action": decision.action,
            "aurora.filter.category": decision.category,
            "aurora.filter.score": round(decision.score, 4),
            "aurora.filter.language": decision.language,
            "aurora.filter.failure": decision.failure,
        }
        span = self._tracer.start_span(
            "judge prompt" if decision.direction == "input" else "judge answer",
            trace.set_span_in_context(self._span),
            attributes={name: value for name, value in told.items() if value is not None},
            start_time=now - round(1e6 * decision.milliseconds),
        )
        span.end(now)

    def answer(self, request: "GenerationRequest", model: str, index: int) -> AnswerTrace:
        """Begin the span of an answer."""
        told: dict[str, Any] = {
            "gen_ai.operation.name": self._operation,
            "gen_ai.provider.name": "aurora-release",
            "gen_ai.request.model": model,
            "gen_ai.request.max_tokens": request.max_new_tokens,
            "aurora.answer.index": index,
        }
        told |= {f"gen_ai.request.{name}": getattr(request, name) for name in _SAMPLING}
        now = time.time_ns()
        span = self._tracer.start_span(
            f"{self._operation} {model}",
            trace.set_span_in_context(self._span),
            attributes={name: value for name, value in told.items() if value is not None},
            start_time=now,
        )
        return AnswerTrace(self._tracer, span, now)

    def end(self, method: str, route: str, status: int) -> None:
        """Record how the request was answered; `route`: its path in the application."""
        self._span.update_name(f"{method} {route}")
        self._span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()


OFF = Trace(trace.NoOpTracer(), trace.INVALID_SPAN, "")


class Traces:
    """Begins the trace of each request, or goes on with that of its client."""

    def __init__(
        self, tracer: trace.Tracer | None = None, close: Callable[[], object] = lambda: None
    ):
        """Without a tracer nothing is recorded, and what a client sent is passed on."""
        self._tracer = tracer or trace.NoOpTracer()
        self._close = close

    def request(self, method: str, path: str, headers: Mapping[str, str], name: str) -> Trace:
        """Return the trace of a request with the id `name`; what asks for nothing has none."""
        if method != "POST":  # probes, metrics, parts of the page
            return OFF
        span = self._tracer.start_span(
            method,
            _CONTEXT.extract(headers),
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": method, "aurora.request.id": name},
        )
        chats = path.startswith(("/v1/chat/", "/chat/"))
        return Trace(self._tracer, span, "chat" if chats else "text_completion")

    def close(self) -> None:
        """Send what is left, unless that takes too long."""
        closing = threading.Thread(target=self._close, name="traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


def from_environment() -> Traces:
    """Return traces that go where OpenTelemetry's standard variables say; none by default.

    Raises:
        AuroraError: a variable names a collector, and what would send to it is not installed; or a
            protocol that is not spoken.
    """
    told = [name for name in _ENDPOINTS if os.environ.get(name)]
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not told or disabled or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return Traces()
    for name in _PROTOCOLS:
        if os.environ.get(name, "http/protobuf") != "http/protobuf":
            raise AuroraError(
                f"{name} is {os.environ[name]}, and traces are sent as http/protobuf: say that, "
                "and the collector's port for it, which is 4318 unless told otherwise."
            )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise AuroraError(
            f"{told[0]} is set, and what sends traces is not installed: "
            "pip install 'aurora-release[traces]', or unset it."
        ) from None
    known = {"service.version": __version__}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        known["service.name"] = "aurora-release"
    provider = TracerProvider(resource=Resource.create(known), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    # what it says of a collector that does not answer belongs into our log
    logging.getLogger("opentelemetry").handlers = logging.getLogger("aurora_release").handlers
    logger.info("Traces are sent to the collector that %s names.", told[0])
    return Traces(provider.get_tracer("aurora-release", __version__), provider.shutdown)
