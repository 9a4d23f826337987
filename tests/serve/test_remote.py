"""What becomes of requests when the servers that should answer them fail."""

import asyncio
import json
import logging
import shutil
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

from aurora_release.errors import AuroraError
from aurora_release.safety.guard import Verdict
from aurora_release.serve.engines.choose import Choice, open_engine
from aurora_release.serve.engines.protocol import (
    Delta,
    Engine,
    EngineError,
    GenerationRequest,
    Overloaded,
    Unsuitable,
)
from aurora_release.serve.engines.remote import RemoteEngine
from aurora_release.serve.settings import Settings
from tests.running import until
from tests.serve.conftest import WordJudge, make_engine, serving

REQUEST = GenerationRequest((5, 6, 7), max_new_tokens=4)


class Failing(ThreadingHTTPServer):
    """Stands in for vLLM on a bad day: speaks its protocol so far, then closes the connection."""

    def __init__(self, *said: str, status: int = 200, body: bytes = b"", owner: str = "vllm"):
        self.said, self.status, self.body, self.owner = said, status, body, owner
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.last = b""
        self.is_well = True
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Failing

    def do_GET(self) -> None:
        self.server.keys.add(self.headers["Authorization"])
        model = {"id": "m", "owned_by": self.server.owner, "max_model_len": 64}
        body = json.dumps({"data": [model]}).encode()
        self._send(200 if self.server.is_well else 503, body)

    def do_POST(self) -> None:
        self.server.keys.add(self.headers["Authorization"])
        length = int(self.headers["Content-Length"])
        self.server.asked.append(json.loads(self.rfile.read(length)))
        if self.server.status != 200 or self.server.body:
            self._send(self.server.status, self.server.body)
            return
        self.send_response(200)
        self.end_headers()
        for number, name in enumerate(self.server.said, 1):
            listed = {"tokens": [name], "token_logprobs": [-1.0], "top_logprobs": [{name: -1.0}]}
            choice = {"text": "?", "logprobs": listed, "finish_reason": None}
            if number == self.server.asked[-1]["max_tokens"]:
                choice["finish_reason"] = "length"
            self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
        self.wfile.write(self.server.last)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


WORDS = ("token_id:40", "token_id:41", "token_id:42", "token_id:43")


@contextmanager
def failing(*servers: Failing) -> Iterator[None]:
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


@contextmanager
def engine(folder: Path, urls: Sequence[str], **options: Any) -> Iterator[RemoteEngine]:
    opened = open_engine(folder, Choice("openai", tuple(urls), **options))
    assert isinstance(opened, RemoteEngine)
    opened.start()
    try:
        yield opened
    finally:
        opened.stop()


def collect(engine: Engine, request: GenerationRequest = REQUEST) -> list[Delta]:
    async def one() -> list[Delta]:
        return [delta async for delta in engine.generate(request)]

    return asyncio.run(one())


def ids(deltas: list[Delta]) -> list[int]:
    return [delta.token.id for delta in deltas]


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Failing(),
        lambda: Failing(status=500),
        lambda: Failing(status=429),
        lambda: Failing(status=503),
        lambda: Failing(body=b"data: {nonsense\n\n"),
        lambda: Failing(body=b'data: {"error": {"message": "x", "type": "server_error"}}\n\n'),
        lambda: Failing(body=b'data: {"choices": [{"text": "no tokens"}]}\n\n'),
    ],
    ids=["closes", "500", "429", "503", "nonsense", "error event", "no logprobs"],
)
def test_before_the_first_token_another_server_is_asked(
    tiny_llama: Path, broken: Callable[[], Failing]
) -> None:
    bad, good = broken(), Failing(*WORDS)
    with failing(bad, good), engine(tiny_llama, [bad.url, good.url]) as remote:
        for _ in range(2):
            assert ids(collect(remote)) == [40, 41, 42, 43]
    assert bad.asked and len(good.asked) == 2
    sent = good.asked[0]
    assert sent["prompt"] == [5, 6, 7] and sent["stream"] and sent["return_tokens_as_token_ids"]


@pytest.mark.parametrize(
    "last", [b"", b'data: {"error": {"message": "busy", "code": 503}}\n\n', b"data: {\n\n"]
)
def test_after_the_first_token_nobody_else_is_asked(tiny_llama: Path, last: bytes) -> None:
    bad, good = Failing(*WORDS[:2]), Failing(*WORDS)
    bad.last = last
    with failing(bad, good), engine(tiny_llama, [bad.url, good.url]) as remote:

        async def heard() -> list[Delta]:
            deltas = []
            with pytest.raises(EngineError, match="in the middle"):
                async for delta in remote.generate(REQUEST):
                    deltas.append(delta)
            return deltas

        assert ids(asyncio.run(heard())) == [40, 41]
        assert not good.asked


@pytest.mark.parametrize(
    ("status", "error"), [(429, Overloaded), (503, Overloaded), (500, EngineError)]
)
def test_when_all_fail_the_error_says_so(
    tiny_llama: Path, status: int, error: type[EngineError]
) -> None:
    servers = [Failing(status=status), Failing(status=status)]
    with failing(*servers), engine(tiny_llama, [each.url for each in servers]) as remote:
        with pytest.raises(error, match="behind this one"):
            collect(remote)
        assert [len(each.asked) for each in servers] == [1, 1]


REFUSED = b'{"error": {"message": "`regex` does not compile", "code": 400}}'


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, REFUSED), (200, b"data: " + REFUSED + b"\n\n")],
)
def test_what_the_server_refuses_is_no_fault_of_the_server(
    tiny_llama: Path, status: int, body: bytes
) -> None:
    bad = Failing(status=status, body=body)
    with failing(bad), engine(tiny_llama, [bad.url]) as remote:
        with pytest.raises(Unsuitable, match="`regex` does not compile"):
            collect(remote)
        assert remote.stats().ready


@pytest.mark.parametrize("field", ["min_p", "typical_p", "top_k", "repetition_penalty"])
def test_what_openai_has_no_field_for_is_refused(tiny_llama: Path, field: str) -> None:
    plain = Failing(*WORDS, owner="openai")
    request = GenerationRequest((5,), 4, **{field: 0.5})  # type: ignore[arg-type]
    with failing(plain), engine(tiny_llama, [plain.url]) as remote:
        with pytest.raises(Unsuitable, match=f"`{field}`.*openai"):
            collect(remote, request)
        assert not plain.asked


def test_without_a_server_there_is_an_error_until_one_comes(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aurora_release.serve.engines.replica.LOOK_EVERY_SECONDS", 0.05)
    server = Failing(*WORDS)
    server.is_well = False
    with failing(server), engine(tiny_llama, [server.url]) as remote:
        assert not remote.stats().ready and remote.stats().waits
        with pytest.raises(EngineError, match="None of the servers"):
            collect(remote)
        server.is_well = True
        while not remote.stats().ready:
            time.sleep(0.01)
        assert ids(collect(remote)) == [40, 41, 42, 43]
        assert remote.facts.max_total_tokens == 64  # what the server said


def test_a_server_that_is_not_there_is_named_in_words(
    tiny_llama: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("aurora_release"), "propagate", True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with engine(tiny_llama, [f"http://127.0.0.1:{port}"]):
        assert f"http://127.0.0.1:{port} is not well: it cannot be reached (" in caplog.text


def test_without_a_server_no_prompt_is_judged(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aurora_release.serve.engines.replica.LOOK_EVERY_SECONDS", 0.05)
    server = Failing(*WORDS)
    server.is_well = False
    judged: list[str] = []

    class Listening(WordJudge):
        def judge(self, text: str, direction: Literal["input", "output"]) -> Verdict:
            judged.append(text)
            return super().judge(text, direction)

    behind = open_engine(tiny_llama, Choice("openai", (server.url,)))
    asked = {"prompt": "The", "max_tokens": 4}
    with failing(server), serving(behind, Listening(), Settings(chat_page=False)) as url:
        for stream in (False, True):
            reply = httpx.post(f"{url}/v1/completions", json={**asked, "stream": stream})
            assert reply.status_code == 503
            assert reply.headers["retry-after"] == "1"
        assert httpx.post(f"{url}/generate", json={"inputs": "The"}).status_code == 424
        assert not judged
        server.is_well = True
        until(lambda: httpx.get(f"{url}/health").status_code == 200)
        assert httpx.post(f"{url}/v1/completions", json=asked).status_code == 200
        assert judged


def counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[GenerationRequest]:
    """Return the list to which what this engine is asked for will be added."""
    asked: list[GenerationRequest] = []
    generate = engine.generate

    def count(request: GenerationRequest) -> AsyncGenerator[Delta, None]:
        asked.append(request)
        return generate(request)

    monkeypatch.setattr(engine, "generate", count)
    return asked


def test_the_least_loaded_server_is_asked(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [make_engine(tiny_llama), make_engine(tiny_llama)]
    asked = [counted(server, monkeypatch) for server in servers]
    settings = Settings(chat_page=False)
    with (
        serving(servers[0], WordJudge(), settings) as one,
        serving(servers[1], WordJudge(), settings) as other,
        engine(tiny_llama, [one, other]) as remote,
    ):

        async def busy() -> None:
            streams = [remote.generate(GenerationRequest((5,), 200)) for _ in range(4)]
            for stream in streams:  # one that is not read to its end is under way still
                await anext(stream)
            for stream in streams:
                await stream.aclose()

        asyncio.run(busy())
        assert [len(each) for each in asked] == [2, 2]


def test_a_folder_that_does_not_say_how_long_prompts_are_leaves_it_to_the_servers(
    tiny_llama: Path, tmp_path: Path
) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_llama / name, tmp_path / name)
    settings = Settings(chat_page=False)
    with (
        serving(make_engine(tiny_llama), WordJudge(), settings) as behind,
        serving(open_engine(tmp_path, Choice("openai", (behind,))), WordJudge(), settings) as url,
    ):
        info = httpx.get(f"{url}/info").json()
        said = httpx.get(f"{behind}/info").json()
        assert info["max_total_tokens"] == said["max_total_tokens"] > 0
        asked = {"prompt": "The", "max_tokens": 4, "temperature": 0}
        assert httpx.post(f"{url}/v1/completions", json=asked).status_code == 200


def test_clients_are_told(tiny_llama: Path) -> None:
    bad = Failing(*WORDS[:2])
    settings = Settings(chat_page=False)
    with (
        failing(bad),
        serving(
            open_engine(tiny_llama, Choice("openai", (bad.url,))), WordJudge(), settings
        ) as url,
    ):
        asked = {"prompt": "The", "max_tokens": 4, "temperature": 0}
        streamed = httpx.post(f"{url}/v1/completions", json={**asked, "stream": True})
        *_, last = [line for line in streamed.text.split("\n") if line.startswith("data:")]
        assert "in the middle" in json.loads(last[5:])["error"]["message"]
        bad.status = 500
        whole = httpx.post(f"{url}/v1/completions", json=asked)
        assert whole.status_code == 503
        assert whole.json()["error"]["type"] == "server_error"


def test_the_key_goes_to_the_server_and_nowhere_else(
    tiny_llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "key"
    path.write_text("open-sesame\n", encoding="utf-8")
    server = Failing(status=500)
    with (
        failing(server),
        engine(tiny_llama, [server.url], key_file=path) as remote,
        pytest.raises(EngineError) as caught,
    ):
        collect(remote)
    assert server.keys == {"Bearer open-sesame"}
    assert "sesame" not in caplog.text and "sesame" not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "http://u:secret@host"])
def test_an_address_that_is_none_is_an_error(tiny_llama: Path, url: str) -> None:
    with pytest.raises(AuroraError, match="--upstream") as caught:
        open_engine(tiny_llama, Choice("openai", (url,)))
    assert "secret" not in str(caught.value)


def test_what_is_read_for_one_key_is_kept_apart_from_others(tiny_llama: Path) -> None:
    asked = []
    for owner in ("vllm", "llamacpp", "openai"):
        server = Failing(*WORDS, owner=owner)
        with failing(server), engine(tiny_llama, [server.url]) as remote:
            for whose in ("alice", "bob", "alice", ""):
                collect(remote, replace(REQUEST, owner=whose))
        asked.append(server.asked)
    salts = [body.get("cache_salt") for body in asked[0]]
    assert salts[0] == salts[2] and len(set(salts)) == 3 and salts[3] is None
    assert "alice" not in salts[0]
    assert [body.get("cache_prompt") for body in asked[1]] == [False, False, False, None]
    assert not any({"cache_salt", "cache_prompt"} & set(body) for body in asked[2])


@pytest.mark.parametrize(("owner", "said"), [("llamacpp", False), ("vllm", None)])
def test_llama_server_answers_the_same_seed_the_same_whatever_it_read_before(
    tiny_llama: Path, owner: str, said: bool | None
) -> None:
    server = Failing(*WORDS, owner=owner)
    with failing(server), engine(tiny_llama, [server.url]) as remote:
        collect(remote, replace(REQUEST, seed=7))
        collect(remote, REQUEST)
    assert [body.get("cache_prompt") for body in server.asked] == [said, None]
