"""What is searched of each kind of file."""

import json
from pathlib import Path

import pytest

from aurora_release.publish.scan import scan

TOKEN = "hf_" + "aB3" * 11 + "x"


def test_the_header_of_weights_is_searched(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {"from": "/home/aino/run"}}).encode()
    weights = len(header).to_bytes(8, "little") + header + bytes(range(256)) * 10
    (tmp_path / "model.safetensors").write_bytes(weights)
    assert scan(tmp_path) == ["model.safetensors, line 1: the personal path /home/aino."]


def test_the_head_of_other_binary_files_is_searched(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF\xff\xfe\0" + TOKEN.encode() + b"\0\xff" * 99)
    assert scan(tmp_path) == ["model.gguf, line 1: a secret (a key, a token or a password)."]


@pytest.mark.parametrize(
    "plain",
    [
        '{"tokenizer": "' + "0123456789abcdef" * 4 + '"}',
        "https://example.org/home/page and ~/corpus and /homework/aino",
        '"sk-", "hf_", "AKIA"',
    ],
)
def test_what_only_looks_like_a_secret_passes(tmp_path: Path, plain: str) -> None:
    (tmp_path / "notes.json").write_text(plain, encoding="utf-8")
    assert scan(tmp_path) == []


def test_the_home_of_who_publishes_is_personal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/data/people/aino")
    (tmp_path / "recipe.json").write_text('{"path": "/data/people/aino/x"}', encoding="utf-8")
    assert scan(tmp_path) == ["recipe.json, line 1: the personal path /data/people/aino."]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_text_in_wide_letters_is_searched(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "LICENSE").write_bytes(f"Apache\n{TOKEN}".encode(encoding))
    assert scan(tmp_path) == ["LICENSE, line 2: a secret (a key, a token or a password)."]


def test_text_is_searched_to_its_end_wherever_its_letters_lie(tmp_path: Path) -> None:
    text = "x" * (8 * 2**20 - 1) + "\u00e4 " + TOKEN
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    assert scan(tmp_path) == ["tokenizer.json, line 1: a secret (a key, a token or a password)."]


def test_what_only_has_the_name_of_weights_is_searched(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text(f"token {TOKEN}", encoding="utf-8")
    assert scan(tmp_path) == ["model.safetensors, line 1: a secret (a key, a token or a password)."]
