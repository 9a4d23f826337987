"""What a server behind this one says in odd places reaches nobody unjudged, and breaks nothing."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from aurora_release.serve.engines.choose import Choice, open_engine
from aurora_release.serve.settings import Settings
from tests.serve.conftest import WordJudge, serving

HARM = "The gunpowder goes in."
PROMPT = {"prompt": "The", "max_tokens": 9}


class Odd(ThreadingHTTPServer):
    """Stands in for a server that answers with whatever a test wants it to."""

    def __init__(self, owner: str, body: bytes, status: int = 200):
        self.owner, self.body, self.status = owner, body, status
        self.length = len(body)
        """What it says of the length of its body."""
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Odd

    def do_GET(self) -> None:
        model = {"id": "m", "owned_by": self.server.owner, "max_model_len": 64}
        said = {"data": [model], "model_id": "m", "max_total_tokens": 64}
        self._send(200, json.dumps(said).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(self.server.status, self.server.body, self.server.length)

    def _send(self, status: int, body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        if status == 207:  # a body in chunks that are none
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def event(*names: str, text: str = "", top: dict[str, float] | None = None, **more: Any) -> bytes:
    """Return an event of /v1/completions that ends the answer."""
    listed = {
        "tokens": names,
        "token_logprobs": [-1.0] * len(names),
        "top_logprobs": [top or {name: -1.0} for name in names],
    }
    choice = {"text": text, "logprobs": listed, "finish_reason": "stop", **more}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def asked(folder: Any, server: Odd, path: str, body: dict[str, Any]) -> httpx.Response:
    """Return what a client is answered while `server` stands behind the filter."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    kind: Any = "tgi" if server.owner == "tgi" else "openai"
    engine = open_engine(folder, Choice(kind, (f"http://127.0.0.1:{server.server_address[1]}",)))
    try:
        with serving(engine, WordJudge("gunpowder"), Settings(chat_page=False)) as url:
            return httpx.post(f"{url}{path}", json=body, timeout=30)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("word", ["gunpowder", "powder"])
def test_tokens_that_were_not_chosen_are_judged_too(tiny_llama, stream, word):
    server = Odd("openai", event("A fox.", text="A fox.", top={f"{word}!": -0.5}))
    body = {"prompt": "The", "max_tokens": 9, "logprobs": 1, "stream": stream}
    reply = asked(tiny_llama, server, "/v1/completions", body)
    assert reply.status_code == 200 and "A fox." in reply.text
    assert ("powder!" in reply.text) == (word == "powder")


def test_tokens_that_were_not_chosen_are_judged_in_a_row(tiny_llama):
    rows = [{"gun": -0.5}, {"powder": -0.5}]
    listed = {"tokens": ["A", " fox"], "token_logprobs": [-1, -1], "top_logprobs": rows}
    server = Odd("openai", event(text="A fox", logprobs=listed))
    body = {"prompt": "The", "max_tokens": 9, "logprobs": 1}
    reply = asked(tiny_llama, server, "/v1/completions", body).json()["choices"][0]
    assert reply["text"] == "A fox"
    assert reply["logprobs"]["top_logprobs"] == [{"A": -1.0}, {" fox": -1.0}]


@pytest.mark.parametrize("max_tokens", [0, 9])
def test_what_is_no_prompt_is_not_echoed_as_one(tiny_llama, max_tokens):
    server = Odd("vllm", event("token_id:40", "token_id:41", "token_id:42"))
    body = {"prompt": [5, 6], "max_tokens": max_tokens, "logprobs": 1, "echo": True}
    assert asked(tiny_llama, server, "/v1/completions", body).status_code == 503
    server = Odd("vllm", event("token_id:5", "token_id:6", "token_id:42"))
    assert asked(tiny_llama, server, "/v1/completions", body).status_code == 200


def test_json_is_judged_as_its_reader_decodes_it(tiny_llama):
    hidden = "".join(f"\\u{ord(letter):04x}" for letter in HARM)
    text = f'{{"a": "{hidden}"}}'
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    body = {"messages": [{"role": "user", "content": "Hi"}], "response_format": form}
    server = Odd("sglang", event(text, text=text))
    [choice] = asked(tiny_llama, server, "/v1/chat/completions", body).json()["choices"]
    assert choice["finish_reason"] == "content_filter" and "\\u" not in choice["message"]["content"]


@pytest.mark.parametrize("status", [200, 400])
def test_the_words_of_a_refusal_are_judged(tiny_llama, status):
    said = json.dumps({"error": {"message": HARM, "code": 400}}).encode()
    server = Odd("vllm", b"data: " + said + b"\n\n" if status == 200 else said, status)
    reply = asked(tiny_llama, server, "/v1/completions", PROMPT)
    assert reply.status_code == 400 and "refuses" in reply.text and "powder" not in reply.text


def test_of_an_endless_error_the_beginning_is_read(tiny_llama):
    server = Odd("vllm", b"x" * 10_000_000, 400)
    server.length = 10**12
    reply = asked(tiny_llama, server, "/v1/completions", PROMPT)
    assert reply.status_code == 400 and "answers 400" in reply.text


@pytest.mark.parametrize("schema", ['"\\ud800"', "not json", "[" * 100_000])
@pytest.mark.parametrize("owner", ["vllm", "tgi"])
def test_a_schema_that_cannot_be_sent_is_no_fault_of_the_server(tiny_llama, owner, schema):
    grammar = {"type": "json", "value": schema}
    body = {"inputs": "The", "parameters": {"max_new_tokens": 9, "grammar": grammar}}
    reply = asked(tiny_llama, Odd(owner, b""), "/generate", body)
    assert reply.status_code == 422 and "no JSON text" in reply.json()["error"]


def test_the_log_has_no_word_of_an_answer_that_breaks_http(tiny_llama, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("aurora_release"), "propagate", True)
    server = Odd("vllm", HARM.encode() + b"\r\n", 207)
    assert asked(tiny_llama, server, "/v1/completions", PROMPT).status_code == 503
    assert "RemoteProtocolError" in caplog.text and "gunpowder" not in caplog.text


@pytest.mark.parametrize(
    ("text", "logprob"), [("A \ud800 fox", -1.0), ("A fox", float("nan")), ("A fox", "nan")]
)
def test_what_json_cannot_say_is_the_fault_of_the_server(tiny_llama, text, logprob):
    token = {"id": 5, "text": text, "logprob": logprob, "special": False}
    said = {"token": token, "details": {"finish_reason": "eos_token"}}
    server = Odd("tgi", b"data:" + json.dumps(said).encode() + b"\n\n")
    body = {"inputs": "The", "parameters": {"max_new_tokens": 9, "details": True}}
    assert asked(tiny_llama, server, "/generate", body).status_code == 424


def test_what_cannot_be_chosen_has_the_least_logprob(tiny_llama):
    server = Odd("openai", event("A fox.", text="A fox.", top={"no": -float("inf")}))
    reply = asked(tiny_llama, server, "/v1/completions", {**PROMPT, "logprobs": 1})
    assert reply.json()["choices"][0]["logprobs"]["top_logprobs"][0]["no"] == -9999


def test_no_answer_ends_the_line_of_its_event(tiny_llama):
    """Python's HTTP clients end lines where `str.splitlines` does."""
    text = "A fox.\u2028A cat.\u2029A dog.\x85"
    server = Odd("openai", event(text, text=text))
    reply = asked(tiny_llama, server, "/v1/completions", {**PROMPT, "stream": True})
    said = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    assert "".join(each["choices"][0]["text"] for each in said) == text
