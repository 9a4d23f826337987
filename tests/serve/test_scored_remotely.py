"""`aurora evaluate URL` against the real server: what the model's folder gives."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from aurora_release.errors import AuroraError
from aurora_release.evaluate.generate import Sampling
from aurora_release.evaluate.measure import Settings
from aurora_release.evaluate.remote import connect
from aurora_release.evaluate.subject import Server
from aurora_release.evaluate.whole import evaluate
from aurora_release.serve import keys
from aurora_release.serve.settings import Settings as ServerSettings

TEXTS = [
    {"text": "Nopea ruskea kettu hyppää laiskan koiran yli. " * 12},
    {"text": "素早い茶色の狐"},
]
CHOICES = [
    {"context": "The quick brown", "choices": [" fox", " lazy dog"], "answer": 1},
    {"context": "質問：狐は？\n回答：", "choices": ["素早い", "茶色", "のろまな犬"], "answer": 0},
]
WORDS = [{"context": "The dog", "choices": [word], "answer": 0} for word in (" does", "kettu", "e")]
ANSWERS = [{"prompt": "The quick brown fox", "answers": ["jumps"]}]
SETTINGS = Settings(exact=True, context=64, sampling=Sampling(max_new_tokens=16))


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    folder = tmp_path / "sets"
    folder.mkdir()
    for name, rows in (
        ("text", TEXTS),
        ("choice", CHOICES),
        ("words", WORDS),
        ("answers", ANSWERS),
    ):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def test_a_url_gives_what_the_folder_gives(
    server: str, tiny_llama: Path, sets: Path, tmp_path: Path
) -> None:
    models = [f"folder={tiny_llama}", f"served={server}"]
    found = evaluate(models, None, [sets], tmp_path / "out", SETTINGS, server=Server(tiny_llama))
    here, there = found.models["folder"], found.models["served"]
    assert there["model"]["sha256"] == "aurora-000000000000"
    assert there["template"] == here["template"]
    for name, row in here["bits_per_byte"].items():
        other = there["bits_per_byte"][name]
        assert other["sha256"] == row["sha256"]
        assert other["per_document"]["bits"] == pytest.approx(row["per_document"]["bits"], abs=0.02)
    [written], [other] = (
        found["written"]["answers"]["per_item"]["text"] for found in (here, there)
    )
    # the server holds back half a character at the end
    assert other.rstrip("\ufffd") == written.rstrip("\ufffd") != ""
    for name, row in here["choice"].items():
        assert there["choice"][name]["per_item"]["right"] == row["per_item"]["right"]
        for one, other in zip(
            row["per_item"]["bits"], there["choice"][name]["per_item"]["bits"], strict=True
        ):
            assert other == pytest.approx(one, abs=0.01)


def test_a_filter_that_blocks_a_text_is_named(
    server: str, tiny_llama: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a bomb"}\n', encoding="utf-8")
    with pytest.raises(AuroraError, match="blocked an evaluation text"):
        evaluate([server], None, [path], tmp_path / "out", SETTINGS, server=Server(tiny_llama))


def test_a_server_asks_for_its_key(
    start_server: Callable[..., tuple[str, object]], tiny_llama: Path, tmp_path: Path
) -> None:
    url, _ = start_server(settings=ServerSettings(chat_page=False, keys=keys.one("right")))
    with pytest.raises(AuroraError, match="answers 401"):
        connect(url, tiny_llama)
    (tmp_path / "key").write_text("right\n", encoding="utf-8")
    model = connect(url, tiny_llama, Server(None, tmp_path / "key").key())
    assert model.id == "tiny-llama"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://127.0.0.1:99999", "http://"])
def test_a_server_that_is_not_there_is_named(url: str, tiny_llama: Path) -> None:
    with pytest.raises(AuroraError, match="does not answer"):
        connect(url, tiny_llama)


def test_a_page_that_is_no_model_server_is_named(server: str, tiny_llama: Path) -> None:
    with pytest.raises(AuroraError, match="answers 404"):
        connect(f"{server}/nowhere", tiny_llama)


def test_a_busy_server_is_asked_again(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for a server whose queue is full at every other request."""
    answers = [
        httpx.Response(429, headers={"retry-after": "0"}),
        httpx.Response(200, json={"data": [{"id": "patient"}]}),
        httpx.Response(503, headers={"retry-after": "0"}),
        httpx.Response(200, json={"system_fingerprint": "b6000-of-a-build"}),
    ]
    monkeypatch.setattr(httpx, "request", lambda *_, **__: answers.pop(0))
    model = connect("http://busy", tiny_llama)
    assert (model.id, model.fingerprint) == ("patient", None)
    assert not answers


@pytest.mark.parametrize("said", [b"<html>", b"{}", b"[]", b'{"data": []}', b'{"data": [1]}'])
def test_an_answer_of_another_protocol_is_named(
    said: bytes, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpx, "request", lambda *_, **__: httpx.Response(200, content=said))
    with pytest.raises(AuroraError, match="not as OpenAI's protocol does"):
        connect("http://other", tiny_llama)


def test_a_server_that_scores_no_prompts_is_named(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(method: str, url: str, **asked: object) -> httpx.Response:
        """Stand in for a server that passes over `echo`, as many do."""
        if method == "GET":
            return httpx.Response(200, json={"data": [{"id": "other"}]})
        choice = {"index": 0, "text": "x", "finish_reason": "length"}
        return httpx.Response(200, json={"choices": [{**choice, "logprobs": None}]})

    monkeypatch.setattr(httpx, "request", answer)
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fox"}\n', encoding="utf-8")
    with pytest.raises(AuroraError, match="does not score prompts"):
        evaluate(["http://other"], None, [path], tmp_path, SETTINGS, server=Server(tiny_llama))
