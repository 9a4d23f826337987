"""Clients that take their time over a request are cut off; those that are only slow to ask again
or to read an answer are not."""

import socket
import time
from contextlib import suppress

import httpx
import pytest

from aurora_release.serve import keys
from aurora_release.serve.settings import Settings

BODY = b'{"prompt": "The", "max_tokens": 2}'
HEAD = (
    b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


def connect(url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60)


def drip(connection: socket.socket, byte: bytes = b"x") -> bytes:
    """Send a byte now and then until the other side has closed, and return what it said."""
    said = b""
    connection.settimeout(0.05)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(TimeoutError):
            try:
                connection.send(byte)
                received = connection.recv(10_000)
            except ConnectionError:
                return said
            if not received:
                return said
            said += received
    raise AssertionError("the connection is still open")


@pytest.fixture
def impatient(start_server):
    """The address of a server that waits a moment only."""
    limits = Settings(header_seconds=2, body_seconds=0.3, chat_page=False)
    return start_server(settings=limits)[0]


def test_a_header_that_comes_byte_by_byte_is_not_waited_for(impatient):
    with connect(impatient) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert drip(connection) == b""
    assert httpx.get(f"{impatient}/health").status_code == 200


def test_a_connection_that_says_nothing_is_not_kept(impatient):
    with connect(impatient) as connection:
        assert connection.recv(100) == b""


def test_a_second_request_is_held_to_it_too(impatient):
    with connect(impatient) as connection:
        connection.sendall(HEAD + BODY)
        assert connection.recv(10_000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        drip(connection)


def test_a_body_that_comes_byte_by_byte_is_answered_408_and_then_cut(impatient):
    with connect(impatient) as connection:
        connection.sendall(HEAD.replace(b"%d" % len(BODY), b"1000000"))
        assert drip(connection, b" ").startswith(b"HTTP/1.1 408 ")


def test_a_refused_request_does_not_go_on_for_ever(start_server):
    limits = Settings(body_seconds=0.3, keys=keys.one("secret"), chat_page=False)
    url, _ = start_server(settings=limits)
    with connect(url) as connection:
        connection.sendall(HEAD.replace(b"%d" % len(BODY), b"1000000"))
        assert drip(connection, b" ").startswith(b"HTTP/1.1 401 ")


def test_an_answer_may_take_longer_than_a_request(impatient):
    body = {"prompt": "The", "max_tokens": 200, "stream": True, "n": 8}
    with httpx.stream("POST", f"{impatient}/v1/completions", json=body, timeout=60) as reply:
        last = ""
        for line in reply.iter_lines():
            time.sleep(0.002)
            last = line or last
    assert last == "data: [DONE]"
