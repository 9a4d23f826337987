"""A stream that is held back does not look dead, and its comments disturb no client."""

import json
import socket
import time

import httpx
import pytest
from huggingface_hub import InferenceClient
from openai import OpenAI

from aurora_release.safety.guard import Verdict
from aurora_release.serve.settings import Settings


class SlowJudge:
    """Takes its time over answers."""

    def judge(self, text, direction):
        if direction == "output":
            time.sleep(0.1)
        return Verdict("allow", language="en")

    def refusal(self, verdict):
        raise NotImplementedError


@pytest.fixture
def url(start_server, monkeypatch):
    monkeypatch.setattr("aurora_release.serve.delivery.KEEP_ALIVE_SECONDS", 0.02)
    return start_server(guard=SlowJudge())[0]


def test_a_stream_that_is_held_back_sends_comments(url):
    body = {"inputs": "The dog", "parameters": {"max_new_tokens": 20}}
    text = httpx.post(f"{url}/generate_stream", json=body).text
    assert text.count(": keep-alive\n\n") >= 3
    assert text.count("data:") == 20


def test_clients_skip_the_comments(url):
    tgi = InferenceClient(url)
    whole = tgi.text_generation("The dog", max_new_tokens=20)
    streamed = tgi.text_generation("The dog", max_new_tokens=20, stream=True)
    assert "".join(streamed) == whole
    with OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        chunks = client.completions.create(
            model="x", prompt="The dog", max_tokens=20, temperature=0, stream=True
        )
        assert "".join(chunk.choices[0].text for chunk in chunks) == whole


def test_a_request_takes_no_longer_than_the_server_allows(start_server, slots_are_freed):
    class Slow(SlowJudge):
        def judge(self, text, direction):
            if direction == "output":
                time.sleep(1)
            return Verdict("allow", language="en")

    url, engine = start_server(guard=Slow(), settings=Settings(most_seconds=0.3, chat_page=False))
    body = {"model": "x", "prompt": "The", "max_tokens": 200}
    reply = httpx.post(f"{url}/v1/completions", json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "timeout")
    assert reply.headers["x-should-retry"] == "false"
    streamed = httpx.post(f"{url}/v1/completions", json={**body, "stream": True})
    last = streamed.text.strip().splitlines()[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "timeout"
    assert slots_are_freed(engine)


def test_a_client_that_does_not_read_loses_its_slots(start_server, monkeypatch, slots_are_freed):
    monkeypatch.setattr("aurora_release.serve.generation.MOST_UNREAD", 100)
    monkeypatch.setattr("aurora_release.serve.server._UNREAD_BYTES", 4096)
    url, engine = start_server()
    body = {
        "model": "x", "messages": [{"role": "user", "content": "The"}], "stream": True, "n": 3,
        "logprobs": True, "top_logprobs": 20, "temperature": 1,
    }  # fmt: skip
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        content = json.dumps(body).encode()
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(content), content)
        )
        text = b""
        while b"top_logprobs" not in text:  # before the first token no slot may be taken yet
            assert (received := connection.recv(1000)), text
            text += received
        assert slots_are_freed(engine)
        # it wakes up after all, and finds out what happened
        while b"more slowly than" not in text:
            received = connection.recv(100_000)
            assert received, text[-500:]
            text += received
