import base64
import json
import socket
import threading
from contextlib import ExitStack

import httpx
import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import OverloadedError
from openai import OpenAI

from aurora_release.safety.guard import Guard
from aurora_release.serve import keys
from aurora_release.serve.engines.embedded import EmbeddedEngine, Limits
from aurora_release.serve.settings import Settings
from aurora_release.shipped import shipped
from tests.running import until

MESSAGES = [{"role": "user", "content": "The dog?"}]


def endless(url, path="/v1/completions", **options):
    """Return a request that streams until the model is full, 16 times over."""
    body = {"model": "x", "prompt": "The", "stream": True, "temperature": 1, **options}
    return httpx.stream("POST", f"{url}{path}", json=body, timeout=30)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot(start_server, stream):
    url, engine = start_server(limits=Limits(slots=1))
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    body = json.dumps({"model": "x", "prompt": "The", "n": 8, "stream": stream}).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(address) as connection:
        connection.sendall(head.encode() + body)
        until(lambda: engine.stats().active == 1 and engine.stats().waiting > 0)
    until(lambda: engine.stats().active == engine.stats().waiting == 0)
    parameters = {"max_new_tokens": 2}
    answer = httpx.post(f"{url}/generate", json={"inputs": "The", "parameters": parameters})
    assert answer.status_code == 200


def test_a_full_queue_refuses_with_each_protocols_error(start_server):
    url, engine = start_server(limits=Limits(slots=1, queue=1))
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.RateLimitError, match="overloaded"):
            client.completions.create(model="x", prompt="The", n=8, max_tokens=200)
        until(lambda: engine.stats().active == engine.stats().waiting == 0)
        stop = threading.Event()

        def keep_busy():
            while not stop.is_set():
                with endless(url, n=2) as reply:
                    for _ in reply.iter_lines():
                        if stop.is_set():
                            break

        threads = [threading.Thread(target=keep_busy) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            with pytest.raises(OverloadedError, match="overloaded"):
                for _ in range(1000):
                    InferenceClient(url).text_generation("The", max_new_tokens=1)
            replies = (
                httpx.post(f"{url}/v1/completions", json={"model": "x", "prompt": "x"}, timeout=60)
                for _ in range(1000)
            )
            refused = next(reply for reply in replies if reply.status_code == 429)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"


def test_the_key_is_asked_everywhere_but_for_health(start_server):
    url, _ = start_server(settings=Settings(keys=keys.one("secret")))
    for path in ("/health", "/"):
        assert httpx.get(f"{url}{path}").status_code == 200
    for method, path in [
        ("GET", "/v1/models"),
        ("GET", "/info"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/chat/"),
        ("GET", "/chat/config"),
        ("POST", "/chat/gradio_api/queue/join"),
        ("POST", "/"),
        ("POST", "/tokenize"),
        ("POST", "/generate"),
        ("POST", "/v1/chat/completions"),
    ]:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic ???"}):
            reply = httpx.request(method, f"{url}{path}", headers=headers, json={})
            assert reply.status_code == 401, path
    with OpenAI(base_url=f"{url}/v1", api_key="secret") as client:
        assert client.models.list().data
    with (
        OpenAI(base_url=f"{url}/v1", api_key="secre") as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()
    basic = base64.b64encode(b"anyone:secret").decode()
    page = httpx.get(f"{url}/chat/", headers={"authorization": f"Basic {basic}"})
    assert page.status_code == 200


def test_an_open_chat_page_does_not_hold_up_the_end(run_server, tiny_llama, caplog):
    guard = Guard.load(shipped("serve/policies/default.yaml"))
    with ExitStack() as stack:
        engine = EmbeddedEngine.load(tiny_llama)
        url = stack.enter_context(run_server(engine, guard, Settings()))
        with httpx.stream("GET", f"{url}/chat/gradio_api/heartbeat/x") as page:
            lines = page.iter_lines()
            assert next(lines) == "data: ALIVE"
            stack.close()
    assert "timeout graceful shutdown exceeded" not in caplog.text


def test_large_bodies_are_refused_however_they_come(start_server):
    url, _ = start_server(settings=Settings(max_body_bytes=1000, chat_page=False))
    body = json.dumps({"model": "x", "prompt": "x" * 2000}).encode()
    headers = {"content-type": "application/json"}
    for content in (body, iter([body[:500], body[500:]])):
        reply = httpx.post(f"{url}/v1/completions", content=content, headers=headers)
        assert reply.status_code == 413
        assert "larger than 1000 bytes" in reply.json()["error"]["message"]
    reply = httpx.post(f"{url}/generate", content=body, headers=headers)
    assert reply.status_code == 413
    assert reply.json()["error_type"] == "validation"


def test_metrics_count_requests_tokens_and_blocks(start_server):
    url, _ = start_server("bomb")
    httpx.post(f"{url}/generate", json={"inputs": "The", "parameters": {"max_new_tokens": 3}})
    httpx.post(f"{url}/generate", json={"inputs": "a bomb"})
    httpx.post(f"{url}/generate", json={"inputs": ""})
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    assert 'aurora_requests_total{key="",route="/generate",status="200"} 2.0' in lines
    assert 'aurora_requests_total{key="",route="/generate",status="422"} 1.0' in lines
    assert "aurora_generation_tokens_total 3.0" in lines
    blocked = 'action="block",category="harm",channel="text",direction="input"'
    assert f"aurora_filter_decisions_total{{{blocked}}} 1.0" in lines
    assert 'aurora_filter_judging_seconds_count{direction="input"} 2.0' in lines
    assert "aurora_time_to_first_text_seconds_count 1.0" in lines
    assert "aurora_num_requests_running 0.0" in lines


def test_a_dead_engine_is_unhealthy_and_says_so(start_server, caplog):
    import torch

    url, engine = start_server()
    engine._model.model.norm.weight.data = torch.ones(3)
    reply = httpx.post(f"{url}/v1/completions", json={"model": "x", "prompt": "The"})
    assert reply.status_code == 503
    assert reply.json()["error"]["type"] == "server_error"
    until(lambda: not engine.stats().ready)
    health = httpx.get(f"{url}/health")
    assert health.status_code == 503
    assert health.json() == {"error": "unhealthy", "error_type": "healthcheck"}
    reply = httpx.post(f"{url}/generate", json={"inputs": "The"})
    assert reply.status_code == 424
    assert reply.json()["error_type"] == "generation"


def test_an_engine_that_dies_in_a_stream_ends_it_with_an_error(start_server, caplog):
    import torch

    url, engine = start_server()
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        stream = client.completions.create(model="x", prompt="The", stream=True, temperature=0, n=8)
        next(stream)
        engine._model.model.norm.weight.data = torch.ones(3)
        with pytest.raises(openai.APIError, match="The engine failed"):
            for _ in stream:
                pass


def test_a_failing_guard_lets_nothing_out(start_server, caplog):
    class Failing:
        def judge(self, text, direction):
            if direction == "output":
                raise RuntimeError("no classifier")
            from aurora_release.safety.guard import Verdict

            return Verdict("allow")

        def refusal(self, verdict):
            return "refused"

    url, _ = start_server(guard=Failing())
    with OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        choice = client.chat.completions.create(model="x", messages=MESSAGES).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("refused", "content_filter")


def test_a_body_without_its_content_type_is_told_so(server):
    for path in ("/v1/chat/completions", "/generate"):
        found = httpx.post(f"{server}{path}", content=b'{"inputs": "The"}')
        assert found.status_code in (400, 422)
        assert "Content-Type: application/json" in found.text


def test_a_misspelt_name_is_named_before_the_one_that_is_missing(server):
    found = httpx.post(f"{server}/v1/chat/completions", json={"model": "x", "mesages": []})
    assert found.json()["error"]["message"] == (
        "Unrecognized request argument supplied: mesages; did you mean messages?"
    )


def test_too_many_prompts_are_told_by_their_own_name(server):
    body = {"prompt": ["a"] * 9, "max_tokens": 1}
    error = httpx.post(f"{server}/v1/completions", json=body).json()["error"]
    assert (error["param"], error["message"].partition(":")[2]) == ("prompt", " it has 9 prompts")


def test_a_wrong_address_says_what_is_there(server):
    for path, said in (("/v1/nothing", "no such route"), ("/v1/completions", "takes POST")):
        assert said in httpx.get(f"{server}{path}").json()["error"]["message"]
    assert "takes GET, POST" in httpx.delete(f"{server}/").json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/generate", {"inputs": "a", "parameters": {"max_tokens": 5}},
         "parameters.max_tokens; did you mean max_new_tokens?"),
        ("/generate", {"inputs": "a", "max_new_tokens": 5},
         "max_new_tokens; did you mean parameters.max_new_tokens?"),
        ("/generate", {"input": "a"}, "input; did you mean inputs?"),
        ("/v1/completions", {"prompt": "a", "max_new_tokens": 5}, "did you mean max_tokens?"),
        ("/v1/chat/completions", {"messages": MESSAGES, "prompt": "a"}, "supplied: prompt"),
    ],
)  # fmt: skip
def test_a_name_is_only_put_right_by_those_of_its_own_body(server, path, body, said):
    found = httpx.post(f"{server}{path}", json=body).json()["error"]
    assert (found if path == "/generate" else found["message"]).endswith(said)


def test_a_prompt_that_is_of_no_type_is_named_without_the_type(server):
    found = httpx.post(f"{server}/v1/completions", json={"prompt": {"a": 1}})
    assert found.json()["error"]["message"].startswith("`prompt`: ")


def test_a_browser_finds_the_icon_it_asks_for(start_server):
    url, _ = start_server(settings=Settings())
    found = httpx.get(f"{url}/favicon.ico")
    assert (found.status_code, found.headers["content-type"]) == (200, "image/svg+xml")
