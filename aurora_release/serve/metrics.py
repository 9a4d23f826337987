"""Numbers for Prometheus, one registry a server.

A metric that vLLM also has carries its name and its unit, behind `aurora_`: one relabelling rule
(docs/guides/serve.md) shows this server on dashboards made for vLLM. The page of metrics is part of
the protocol of text-generation-inference, whose names stand there too: see `tgi_names`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from aurora_release.serve.audit import Decision
from aurora_release.serve.engines.protocol import EngineStats
from aurora_release.serve.tgi_names import renamed

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKEN_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5)
_REQUEST_SECONDS = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_JUDGING_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TOKENS = tuple(2.0**power for power in range(18))

_GENERATING = (
    "/", "/generate", "/generate_stream", "/v1/completions", "/v1/chat/completions", "/chat",
)  # fmt: skip
"""What a text is asked of, by POST."""
_REFUSALS = {400: "validation", 422: "validation", 429: "overloaded"}


class Metrics:
    """What a server counts; no prompt and no answer is in it."""

    def __init__(self, stats: Callable[[], EngineStats]):
        from prometheus_client import CollectorRegistry

        self._registry = CollectorRegistry()
        self._count_requests()
        self._count_filter()
        self._count_answers()
        for name, what, key in (
            ("num_requests_running", "Requests that are generated now", "active"),
            ("num_requests_waiting", "Requests that wait for a slot", "waiting"),
            ("engine_slots", "Requests that can be generated at once", "slots"),
            ("engine_ready", "1 where the engine can answer", "ready"),
        ):
            self.gauge(name, what, _reader(stats, key))

    def _count_requests(self) -> None:
        self._requests = self._counter(
            "requests", "HTTP requests answered, by the name of the API key", "route status key"
        )
        self._asked = self._counter(
            "generation_requests", "HTTP requests for text that were answered, if with an error"
        )
        self._failed = self._counter(
            "request_failure",
            "Requests for text that were refused, and answers that did not come to their end",
            "err",
        )

    def _count_filter(self) -> None:
        self._decisions = self._counter(
            "filter_decisions",
            "Texts the filter judged, by what became of them",
            "direction action category channel",
        )
        self._failures = self._counter(
            "filter_failures",
            "Texts that were not judged, because the judge failed or was too slow",
            "direction reason",
        )
        self._judging = self._histogram(
            "filter_judging_seconds",
            "From a text to the verdict about it, waiting for other texts included",
            _JUDGING_SECONDS,
            "direction",
        )

    def _count_answers(self) -> None:
        self._ended = self._counter("request_success", "Answers that ended", "finished_reason")
        self._prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts read")
        self._generation_tokens = self._counter("generation_tokens", "Tokens generated")
        timed = self._histogram
        self._first_token = timed(
            "time_to_first_token_seconds", "From request to the engine's first token", _SECONDS
        )
        self._next_token = timed(
            "inter_token_latency_seconds", "From a token to the next", _TOKEN_SECONDS
        )
        self._first_text = timed(
            "time_to_first_text_seconds",
            "From request to the first text that the filter let out",
            _SECONDS,
        )
        self._latency = timed(
            "e2e_request_latency_seconds", "From request to the end of an answer", _REQUEST_SECONDS
        )
        self._waited = timed("request_queue_time_seconds", "An answer's wait for a slot", _SECONDS)
        self._inference = timed(
            "request_inference_time_seconds", "From slot to last token", _REQUEST_SECONDS
        )
        self._mean_token = timed(
            "request_mean_time_per_token_seconds",
            "From slot to last token, by the tokens of the answer",
            _TOKEN_SECONDS,
        )
        self._prompt_length = timed("request_prompt_tokens", "Tokens of a prompt", _TOKENS)
        self._asked_length = timed(
            "request_params_max_tokens", "Tokens that an answer may have", _TOKENS
        )
        self._length = timed("request_generation_tokens", "Tokens of an answer that ended", _TOKENS)

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Add a number that is read when the page is."""
        from prometheus_client import Gauge

        Gauge(f"aurora_{name}", what, registry=self._registry).set_function(value)

    def request(self, method: str, route: str, status: int, key: str) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status), key).inc()
        if method == "POST" and route in _GENERATING:
            self._asked.inc()
            if status in _REFUSALS:
                self._failed.labels(_REFUSALS[status]).inc()

    def begun(self, prompt_tokens: int, max_tokens: int) -> None:
        """Count an answer that the engine has taken on."""
        self._prompt_tokens.inc(prompt_tokens)
        self._prompt_length.observe(prompt_tokens)
        self._asked_length.observe(max_tokens)

    def first_token(self, seconds: float) -> None:
        """Count the first token of an answer, so long after its request."""
        self._generation_tokens.inc()
        self._first_token.observe(seconds)

    def next_token(self, seconds: float) -> None:
        """Count another token, so long after the one before it."""
        self._generation_tokens.inc()
        self._next_token.observe(seconds)

    def first_text(self, seconds: float) -> None:
        """Record how long a client waited for the first text it could read."""
        self._first_text.observe(seconds)

    def ended(self, reason: str, seconds: float, tokens: int) -> None:
        """Count an answer that came to its end, so long after its request."""
        self._ended.labels(reason).inc()
        self._latency.observe(seconds)
        self._length.observe(tokens)

    def inferred(self, waited: float, seconds: float, tokens: int) -> None:
        """Record how long an answer that ended had waited for its slot, and then held it."""
        self._waited.observe(waited)
        self._inference.observe(seconds)
        self._mean_token.observe(seconds / tokens)

    def failed(self, error: BaseException) -> None:
        """Count an answer that the engine did not end, or that no one waits for any more."""
        self._failed.labels("generation" if isinstance(error, Exception) else "dropped").inc()

    def decision(self, decision: Decision) -> None:
        """Count a text that was judged, and record how long that took."""
        category, channel = decision.category or "none", decision.channel.split()[0]
        self._decisions.labels(decision.direction, decision.action, category, channel).inc()
        self._judging.labels(decision.direction).observe(decision.milliseconds / 1000)
        if decision.failure is not None:
            self._failures.labels(decision.direction, decision.failure).inc()

    def page(self) -> bytes:
        """Return everything in Prometheus' text format."""
        from prometheus_client import generate_latest

        page = generate_latest(self._registry).decode()
        return (page + renamed(page)).encode()

    def _counter(self, name: str, what: str, labels: str = "") -> "Counter":
        from prometheus_client import Counter

        return Counter(f"aurora_{name}", what, labels.split(), registry=self._registry)

    def _histogram(
        self, name: str, what: str, buckets: tuple[float, ...], labels: str = ""
    ) -> "Histogram":
        from prometheus_client import Histogram

        return Histogram(
            f"aurora_{name}", what, labels.split(), buckets=buckets, registry=self._registry
        )


def _reader(stats: Callable[[], EngineStats], name: str) -> Callable[[], float]:
    return lambda: float(getattr(stats(), name))
