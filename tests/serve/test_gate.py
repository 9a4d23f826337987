"""What a client and whoever runs the server see of a request, besides its answer."""

import io
import json
import logging
import re
import socket

import httpx
import pytest

from aurora_release import log
from aurora_release.serve import keys
from aurora_release.serve.settings import Settings
from tests.running import until

SECRET = "Tell me of Agent Aurora's secret"


@pytest.fixture
def plain(start_server):
    """The address of a server that asks for no key."""
    return start_server()[0]


def test_an_id_comes_back_and_a_new_one_is_made_where_it_is_unfit(plain):
    given = httpx.get(f"{plain}/health", headers={"x-request-id": "abc-1.2_3"})
    assert given.headers["x-request-id"] == "abc-1.2_3"
    for unfit in ("a b", "x" * 129, "ä".encode(), ""):
        reply = httpx.get(f"{plain}/nowhere", headers={"x-request-id": unfit})
        assert re.fullmatch("[0-9a-f]{32}", reply.headers["x-request-id"])
        assert reply.status_code == 404


def test_every_reply_has_the_security_headers(plain):
    for method, path in (("GET", "/health"), ("GET", "/v1/models"), ("POST", "/generate")):
        headers = httpx.request(method, f"{plain}{path}").headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


PREFLIGHT = {
    "origin": "https://example.org",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


def test_no_web_page_may_call_unless_told_so(plain):
    reply = httpx.options(f"{plain}/v1/completions", headers=PREFLIGHT)
    assert not any(name.startswith("access-control") for name in reply.headers)


def test_listed_web_pages_may_call_with_a_key(start_server):
    settings = Settings(keys=keys.one("secret"), origins=("https://example.org",), chat_page=False)
    url, _ = start_server(settings=settings)
    allowed = httpx.options(f"{url}/v1/completions", headers=PREFLIGHT)
    assert allowed.headers["access-control-allow-origin"] == "https://example.org"
    assert "Authorization" in allowed.headers["access-control-allow-headers"]
    other = {**PREFLIGHT, "origin": "https://example.com"}
    refused = httpx.options(f"{url}/v1/completions", headers=other)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers
    reply = httpx.get(f"{url}/v1/models", headers={"origin": "https://example.org"})
    assert reply.status_code == 401
    assert reply.headers["access-control-allow-origin"] == "https://example.org"


def test_a_body_that_does_not_come_is_not_waited_for(start_server):
    url, _ = start_server(settings=Settings(body_seconds=0.2, chat_page=False))
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 100\r\n\r\n{"model"'
        )
        reply = connection.recv(10_000)
    assert reply.startswith(b"HTTP/1.1 408 ")


def test_a_route_below_another_path_is_counted_by_its_whole_path(start_server):
    url, _ = start_server(settings=Settings())
    assert httpx.get(f"{url}/chat", follow_redirects=True).status_code == 200
    assert 'route="/chat/",status="200"} 1.0' in httpx.get(f"{url}/metrics").text


def test_the_log_has_a_line_for_each_request_and_no_word_of_it(start_server):
    ours = logging.getLogger("aurora_release")
    before, kept = ours.handlers, ours.propagate
    stream = io.StringIO()
    try:
        log.configure(stream=stream)
        log.as_json()
        settings = Settings(keys=keys.one("secret"), access_log=True, chat_page=False)
        url, _ = start_server("secret", settings=settings)
        headers = {"authorization": "Bearer secret", "x-request-id": "mine"}
        body = {"model": "x", "prompt": "The dog", "max_tokens": 3, "temperature": 0}
        httpx.post(f"{url}/v1/completions", json=body, headers=headers)
        httpx.post(f"{url}/generate?{SECRET}", json={"inputs": SECRET}, headers=headers)
        httpx.post(f"{url}/generate", json={"inputs": SECRET}, headers={"authorization": SECRET})
        # an answer may reach its client before its line is written
        until(lambda: stream.getvalue().count('"status"') == 3)
    finally:
        ours.handlers, ours.propagate = before, kept
        logging.getLogger("uvicorn").handlers = []
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    answered, blocked, refused = [line for line in lines if "status" in line]
    assert answered["request"] == "mine" and answered["key"] == "default"
    assert (answered["route"], answered["status"]) == ("/v1/completions", 200)
    assert (answered["generated_tokens"], answered["blocked"]) == (3, 0)
    assert answered["prompt_tokens"] > 0 and answered["seconds"] >= 0
    assert (blocked["generated_tokens"], blocked["blocked"]) == (0, 1)
    assert (refused["status"], refused["key"], refused["route"]) == (401, "", "/generate")
    assert "Aurora's" not in stream.getvalue() and "secret" not in stream.getvalue()
