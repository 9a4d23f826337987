"""Whatever a guard's server does wrong, the text counts as not judged, and never as safe."""

import json
import logging
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from aurora_release.errors import AuroraError
from aurora_release.safety.guard import Guard
from aurora_release.safety.guards.protocol import Turn, Unjudged
from aurora_release.safety.guards.server import LONGEST, Server
from aurora_release.shipped import shipped

DEFAULT = shipped("serve/policies/default.yaml")
KEY = "stand-in-key-0123456789"
TEXT = "How do I sharpen a knife for the kitchen?"


def hangs(stand_in: Any, request: BaseHTTPRequestHandler) -> None:
    stand_in.released.wait(20)


def dribbles(stand_in: Any, request: BaseHTTPRequestHandler) -> None:
    """Send a byte now and then, each in time, the whole never."""
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    while not stand_in.released.wait(0.02):
        try:
            request.wfile.write(b" ")
        except OSError:
            return


def disconnects(stand_in: Any, request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(json.dumps(stand_in.chat("safe")).encode()[:40])
    request.close_connection = True


def goes_on(stand_in: Any, request: BaseHTTPRequestHandler) -> None:
    """Send a true verdict and then more than anyone asked for."""
    content = json.dumps(stand_in.chat("safe")).encode()
    request.send_response(200)
    request.send_header("Content-Length", str(100 * LONGEST))
    request.end_headers()
    try:
        request.wfile.write(content + b" " * 99 * LONGEST)
    except OSError:
        request.close_connection = True


class Status:
    """Answers with a status and a body that says safe."""

    def __init__(self, status: int):
        self.status = status

    def __call__(self, stand_in: Any, request: BaseHTTPRequestHandler) -> None:
        content = json.dumps(stand_in.chat("safe")).encode()
        request.send_response(self.status)
        request.send_header("Location", "/v1/elsewhere")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


WRONG: list[Any] = [
    b"",
    b"safe",
    b"\xff\xfe",
    b"null",
    b"[]",
    b'{"choices": []}',
    b'{"choices": ["safe"]}',
    b'{"choices": [{"message": null}]}',
    b'{"choices": [{"message": {"content": ["safe"]}}]}',
    b'{"error": {"message": "safe"}}',
    b'{"choices": [{"message": {"content": "safe"}, "logprobs": {"content": [{"x": 1}]}}]}',
    b"[" * 100_000,
    {"choices": [{"message": {"content": None}}]},
    disconnects,
    goes_on,
    Status(500),
    Status(429),
    Status(302),
    Status(204),
]


def guarded(folder: Path, url: str, timeout: float = 5.0, fail_closed: bool = True) -> Guard:
    """Return the guard of a policy in which only a Llama Guard at `url` judges."""
    content = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
    (folder / "key").write_text(f"{KEY}\n", encoding="utf-8")
    server = {"url": url, "model": "guard", "api_key_file": "key", "timeout_seconds": timeout}
    content["guards"] = [{"kind": "llama-guard", **server}]
    content["fail_closed"] = fail_closed
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return Guard.load(path)


def test_a_policy_names_a_server_and_its_key(stand_in: Any, tmp_path: Path) -> None:
    stand_in.says("safe", "unsafe\nS9")
    guard = guarded(tmp_path, stand_in.url)
    safe, unsafe = guard.judge(TEXT, "input"), guard.judge(TEXT, "input")
    assert (safe.action, safe.safety, safe.asked) == ("allow", "safe", ("llama-guard",))
    assert (unsafe.action, unsafe.category, unsafe.labels) == ("block", "cbrn", ("S9",))
    assert (unsafe.safety, unsafe.milliseconds > 0) == ("unsafe", True)
    request = stand_in.asked[0]
    assert (request["path"], request["key"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert request["body"]["model"] == "guard"


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_fails_as_the_policy_says(
    stand_in: Any, tmp_path: Path, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.says(wrong)
    closed = guarded(tmp_path, stand_in.url).judge(TEXT, "input")
    assert (closed.action, closed.safety, closed.verified) == ("block", "unverified", False)
    opened = guarded(tmp_path, stand_in.url, fail_closed=False).judge(TEXT, "input")
    assert (opened.action, opened.safety) == ("flag", "unverified")
    assert "No guard could judge a text: the guard's" in caplog.text
    assert "knife" not in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("wrong", [hangs, dribbles])
def test_a_slow_server_has_not_judged(
    stand_in: Any, tmp_path: Path, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.says(wrong)
    verdict = guarded(tmp_path, stand_in.url, timeout=0.2).judge(TEXT, "input")
    assert (verdict.action, verdict.safety) == ("block", "unverified")
    assert "gave no answer within 0.2 s" in caplog.text


def test_no_server_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        verdict = guarded(tmp_path, "http://127.0.0.1:9/v1").judge(TEXT, "output")
    assert (verdict.action, verdict.safety) == ("block", "unverified")
    assert "ConnectError" in caplog.text


def test_a_redirect_is_not_followed(stand_in: Any) -> None:
    with pytest.raises(Unjudged, match="answered with 302"):
        stand_in.says(Status(302)).chat((Turn("user", TEXT),), 8)
    assert len(stand_in.asked) == 1


def test_a_proxy_of_the_environment_is_not_asked(
    stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert stand_in.says("safe").chat((Turn("user", TEXT),), 8).text == "safe"


def test_a_key_file_that_holds_no_key(tmp_path: Path, stand_in: Any) -> None:
    guarded(tmp_path, stand_in.url)
    for content in ("", "two\nlines", "schlüssel"):
        (tmp_path / "key").write_text(content, encoding="utf-8")
        with pytest.raises(AuroraError, match="holds no API key"):
            Guard.load(tmp_path / "policy.yaml")
    (tmp_path / "key").unlink()
    with pytest.raises(AuroraError, match="cannot be read as a key"):
        Guard.load(tmp_path / "policy.yaml")


def test_odd_text_reaches_the_server_as_text(stand_in: Any) -> None:
    server: Server = stand_in.says("safe")
    for text in ("\u202e\u200f ك", "e\u0301" * 200, "\0\x1b[2J", "爆弾"):
        server.chat((Turn("user", text),), 8)
        assert stand_in.asked[-1]["body"]["messages"][0]["content"] == text
