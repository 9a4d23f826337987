import hashlib
import logging
from pathlib import Path

import pytest

from aurora_release.errors import AuroraError
from aurora_release.serve import keys
from aurora_release.serve.keys import KeyLimits


def test_a_made_key_opens_and_is_not_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    limits = KeyLimits(requests_per_minute=60, tokens_per_day=1000)
    first = keys.add(path, "alice", limits)
    second = keys.add(path, "bob", KeyLimits())
    found = keys.read(path)
    alice, bob = found.find(first), found.find(second)
    assert alice is not None and (alice.name, alice.limits) == ("alice", limits)
    assert bob is not None and (bob.name, bob.limits) == ("bob", KeyLimits())
    assert found.find(first[:-1]) is found.find("") is found.find("alice") is None
    text = path.read_text("utf-8")
    assert first not in text and second not in text
    assert hashlib.sha256(first.encode()).hexdigest() in text


def test_a_plain_key_is_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("0123456789abcdef\n", encoding="utf-8")
    found = keys.read(path).find("0123456789abcdef")
    assert found is not None and found.name == "default"
    with pytest.raises(AuroraError, match="plain key"):
        keys.add(path, "bob", KeyLimits())
    assert path.read_text("utf-8") == "0123456789abcdef\n"


def test_a_changed_file_is_read_again_and_a_broken_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    first = keys.add(path, "alice", KeyLimits())
    server = keys.read(path)
    second = keys.add(path, "bob", KeyLimits())
    assert server.find(second) is not None
    path.write_text("broken", encoding="utf-8")
    assert server.find(first) is not None
    lines = [f"bob sha256:{hashlib.sha256(second.encode()).hexdigest()}", "# alice has left"]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert server.find(first) is None
    assert server.find(second) is not None


def test_the_last_key_of_a_file_can_be_taken_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("aurora_release"), "propagate", True)
    path = tmp_path / "keys"
    only = keys.add(path, "alice", KeyLimits())
    server = keys.read(path)
    line = path.read_text("utf-8")
    for gone in ("", f"# {line}"):
        path.write_text(line, encoding="utf-8")
        assert server.find(only) is not None
        path.write_text(gone, encoding="utf-8")
        assert server.find(only) is None and server.find("") is None
        assert "every client is refused" in caplog.messages[-1]
    path.unlink()
    assert server.find(only) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("short", "line 1 is no key.* 16 or more characters"),
        ("", "holds no key"),
        ("# mine\ntwo words and more", "line 2 is no key.*NAME sha256:DIGEST"),
        (f"a sha256:{'0' * 64}\na sha256:{'1' * 64}", "two keys alike"),
        (f"a sha256:{'0' * 64} tokens_per_hour=3", "line 1: tokens_per_hour=3 is no limit"),
        (f"a sha256:{'0' * 64} tokens_per_day=no", "is no limit"),
        (f"a sha256:{'0' * 64}\nb plain", "line 2 is no key"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AuroraError, match=message):
        keys.read(path)


def test_names_are_plain_and_taken_once(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    with pytest.raises(AuroraError, match=f"no key file .* aurora keys api NAME {path}"):
        keys.read(path)
    with pytest.raises(AuroraError, match="cannot be read"):
        keys.read(tmp_path)
    for name in ("", "a b", "x=y", "ä"):
        with pytest.raises(AuroraError, match="is no name .* digits, and `.`, `_` or `-`"):
            keys.add(path, name, KeyLimits())
    with pytest.raises(AuroraError, match="missing is no folder: make it"):
        keys.add(tmp_path / "missing" / "keys", "alice", KeyLimits())
    keys.add(path, "alice", KeyLimits())
    with pytest.raises(AuroraError, match="named alice"):
        keys.add(path, "alice", KeyLimits())
