"""Numbers for Prometheus, one registry a server.

A metric that vLLM also has carries its name and its unit, behind `aurora_`: one relabelling rule
(docs/guides/serve.md) shows this server on dashboards made for vLLM.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from aurora_release.serve.audit import Decision
from aurora_release.serve.engines.protocol import EngineStats

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TOKEN_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5)
_REQUEST_SECONDS = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_JUDGING_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What a server counts; no prompt and no answer is in it."""

    def __init__(self, stats: Callable[[], EngineStats]):
        from prometheus_client import CollectorRegistry

        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "requests", "HTTP requests answered, by the name of the API key", "route status key"
        )
        self._ended = self._counter("request_success", "Answers that ended", "finished_reason")
        self._prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts read")
        self._generation_tokens = self._counter("generation_tokens", "Tokens generated")
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
        self._first_token = self._histogram(
            "time_to_first_token_seconds", "From request to the engine's first token", _SECONDS
        )
        self._next_token = self._histogram(
            "inter_token_latency_seconds", "From a token to the next", _TOKEN_SECONDS
        )
        self._first_text = self._histogram(
            "time_to_first_text_seconds",
            "From request to the first text that the filter let out",
            _SECONDS,
        )
        self._latency = self._histogram(
            "e2e_request_latency_seconds", "From request to the end of an answer", _REQUEST_SECONDS
        )
        for name, what, key in (
            ("num_requests_running", "Requests that are generated now", "active"),
            ("num_requests_waiting", "Requests that wait for a slot", "waiting"),
            ("engine_slots", "Requests that can be generated at once", "slots"),
            ("engine_ready", "1 where the engine can answer", "ready"),
        ):
            self.gauge(name, what, _reader(stats, key))

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Add a number that is read when the page is."""
        from prometheus_client import Gauge

        Gauge(f"aurora_{name}", what, registry=self._registry).set_function(value)

    def request(self, route: str, status: int, key: str) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status), key).inc()

    def prompt_tokens(self, count: int) -> None:
        """Count tokens of a prompt."""
        self._prompt_tokens.inc(count)

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

    def ended(self, reason: str, seconds: float) -> None:
        """Count an answer that came to its end, so long after its request."""
        self._ended.labels(reason).inc()
        self._latency.observe(seconds)

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

        return generate_latest(self._registry)

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
