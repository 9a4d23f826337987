"""Traces as a collector receives them, over the network and in its own format."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from aurora_release.errors import AuroraError
from aurora_release.serve import keys, traces
from aurora_release.serve.engines.choose import Choice, open_engine
from aurora_release.serve.settings import Settings
from tests.running import until
from tests.serve.conftest import WordJudge, make_engine, serving

SECRETS = ("zebra", "Aurora's", "open-sesame-open-sesame")

ASKED = {"messages": [{"role": "user", "content": "zebra Aurora's"}], "max_tokens": 5, "seed": 7}

KEY = {"authorization": f"Bearer {SECRETS[2]}", "x-request-id": "mine"}

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(ThreadingHTTPServer):
    """Stands in for an OpenTelemetry collector: keeps the spans that come as protobuf over HTTP."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def spans(self) -> list[Any]:
        """All spans, as they began."""
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return sorted(found, key=lambda span: span.start_time_unix_nano)


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        assert self.headers["Content-Type"] == "application/x-protobuf"
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def traced(engine: Any, *blocked: str) -> Iterator[str]:
    """A server that sends traces, all of which have arrived when it has ended."""
    key = keys.one(SECRETS[2])
    settings = Settings(chat_page=False, keys=key, traces=traces.from_environment())
    with serving(engine, WordJudge(*blocked), settings) as url:
        yield url


def told(span: Any) -> dict[str, Any]:
    """The attributes of a span."""
    found = {}
    for attribute in span.attributes:
        value = attribute.value
        kind = value.WhichOneof("value")
        plain = getattr(value, kind)
        listed = kind == "array_value"
        found[attribute.key] = [each.string_value for each in plain.values] if listed else plain
    return found


def test_a_request_is_told_in_spans_without_a_word_of_it(collector, tiny_llama):
    with traced(make_engine(tiny_llama)) as url:
        headers = {**KEY, "traceparent": PARENT}
        path = f"{url}/v1/chat/completions?{SECRETS[0]}"
        assert httpx.post(path, json=ASKED, headers=headers, timeout=60).status_code == 200
        httpx.get(f"{url}/metrics", headers=KEY)  # is not told of
    spans = {span.name: span for span in collector.spans}
    request, answer = spans["POST /v1/chat/completions"], spans["chat tiny-llama"]
    assert set(spans) == {
        request.name, answer.name, "queue", "first token", "judge prompt", "judge answer",
    }  # fmt: skip
    assert {span.trace_id.hex() for span in spans.values()} == {PARENT[3:35]}
    assert request.parent_span_id.hex() == PARENT[36:52]
    for name in (answer.name, "judge prompt", "judge answer"):
        assert spans[name].parent_span_id == request.span_id
    for name in ("queue", "first token"):
        assert spans[name].parent_span_id == answer.span_id
    assert spans["queue"].end_time_unix_nano == spans["first token"].start_time_unix_nano
    assert answer.end_time_unix_nano <= request.end_time_unix_nano
    of_request, of_answer = told(request), told(answer)
    assert of_request["http.response.status_code"] == 200
    assert of_request["aurora.request.id"] == "mine"
    assert of_answer["gen_ai.usage.output_tokens"] == 5
    assert of_answer["gen_ai.usage.input_tokens"] > 5
    assert of_answer["gen_ai.response.finish_reasons"] == ["length"]
    assert of_answer["gen_ai.request.seed"] == 7
    known = {each for each in vars(gen_ai_attributes).values() if isinstance(each, str)}
    assert {name for name in of_answer if name.startswith("gen_ai.")} <= known
    assert told(spans["judge prompt"])["aurora.filter.action"] == "allow"
    sent = b"".join(collector.bodies)
    assert b"tiny-llama" in sent
    assert not any(secret.encode() in sent for secret in SECRETS)


def test_what_is_blocked_or_refused_is_told_too(collector, tiny_llama):
    with traced(make_engine(tiny_llama), "zebra") as url:
        path = f"{url}/v1/chat/completions"
        assert httpx.post(path, json=ASKED, headers=KEY).status_code == 200
        assert httpx.post(path, json=ASKED).status_code == 401
    judged, *others = [span for span in collector.spans if span.name == "judge prompt"]
    assert not others
    assert told(judged)["aurora.filter.action"] == "block"
    requests = [span for span in collector.spans if span.name.startswith("POST ")]
    assert [told(span)["http.response.status_code"] for span in requests] == [200, 401]
    assert not any(span.name.startswith("chat ") for span in collector.spans)


def test_a_server_behind_goes_on_with_the_trace(collector, tiny_llama, tmp_path):
    key_file = tmp_path / "key"
    key_file.write_text(SECRETS[2], encoding="utf-8")
    with traced(make_engine(tiny_llama)) as behind:
        choice = Choice("openai", (behind,), key_file)
        with traced(open_engine(tiny_llama, choice)) as url:
            body = {"prompt": "zebra", "max_tokens": 3}
            reply = httpx.post(f"{url}/v1/completions", json=body, headers=KEY, timeout=60)
            assert reply.status_code == 200
    answers = [span for span in collector.spans if span.name == "text_completion tiny-llama"]
    requests = [span for span in collector.spans if span.name == "POST /v1/completions"]
    assert len(answers) == len(requests) == 2
    assert requests[1].parent_span_id == answers[0].span_id
    assert len({span.trace_id for span in collector.spans}) == 1


def test_a_client_that_leaves_ends_its_spans(collector, tiny_llama):
    # so long that it cannot end before the client has left
    engine = make_engine(tiny_llama, length=10_000)
    with traced(engine) as url:
        body = {"prompt": "The", "max_tokens": 9_000, "stream": True, "n": 2}
        with httpx.stream("POST", f"{url}/v1/completions", json=body, headers=KEY) as reply:
            next(reply.iter_lines())
        until(lambda: not engine.stats().active)
    answers = [span for span in collector.spans if span.name == "text_completion tiny-llama"]
    assert answers
    assert all(told(span)["error.type"] in ("CancelledError", "GeneratorExit") for span in answers)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
    ],
)
def test_nothing_is_sent_unless_it_is_wanted(collector, monkeypatch, tiny_llama, name, value):
    monkeypatch.setenv(name, value)
    with traced(make_engine(tiny_llama)) as url:
        httpx.post(f"{url}/v1/completions", json={"prompt": "The", "max_tokens": 1}, headers=KEY)
    assert not collector.bodies


def test_what_cannot_be_sent_is_an_error(collector, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(AuroraError, match="http/protobuf"):
        patch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        traces.from_environment()
    with monkeypatch.context() as patch, pytest.raises(AuroraError, match=r"release\[traces\]"):
        patch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
        traces.from_environment()
