"""What a key used of its day is used, whatever becomes of the server."""

import json
import time
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from aurora_release.errors import AuroraError
from aurora_release.serve import callers, keys
from aurora_release.serve.callers import Usage
from aurora_release.serve.keys import KeyLimits
from aurora_release.serve.quotas import Left, QuotaFile, quota_file
from aurora_release.serve.replies import ApiError
from aurora_release.serve.settings import Settings
from tests.running import until
from tests.serve.conftest import WordJudge, make_engine, serving


def ask(url: str, key: str) -> httpx.Response:
    body = {"prompt": "The", "max_tokens": 45, "logit_bias": {"2": -100}}
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{url}/v1/completions", json=body, headers=headers, timeout=60)


def test_a_restarted_server_gives_nothing_of_the_day_back(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "SAVE_SECONDS", 0.05)
    path = tmp_path / "keys"
    alice = keys.add(path, "alice", KeyLimits(tokens_per_day=60))
    bob = keys.add(path, "bob", KeyLimits(tokens_per_day=60))

    def server():
        known = keys.read(path)
        settings = Settings(keys=known, quotas=quota_file(known, path, None), chat_page=False)
        return serving(make_engine(tiny_llama), WordJudge(), settings)

    used = tmp_path / "keys.used"
    with server() as url:
        assert ask(url, alice).status_code == 200
        assert ask(url, alice).status_code == 429
        # while it runs, too: a process that is killed forgets the last seconds only
        until(lambda: 0 < json.loads(used.read_text("utf-8"))["alice"]["tokens"] < 20)
    with server() as url:
        refused = ask(url, alice)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "insufficient_quota"
        assert ask(url, bob).status_code == 200
    text = used.read_text("utf-8")
    assert set(json.loads(text)) == {"alice", "bob"}
    for key in (alice, bob):
        assert key not in text and sha256(key.encode()).hexdigest() not in text
    used.unlink()
    with server() as url:
        assert ask(url, alice).status_code == 200


def test_a_day_goes_on_while_no_server_runs() -> None:
    limits = KeyLimits(tokens_per_day=86_400)  # one a second
    later = Usage(limits, left=Left(86_400, -50.0, time.time() - 150))
    later.take(90)
    with pytest.raises(ApiError, match="tokens a day"):
        later.take(1000)
    back = Usage(limits, left=Left(86_400, 5.0, time.time() + 1000))  # the clock was set back
    with pytest.raises(ApiError, match="tokens a day"):
        back.take(1000)
    Usage(limits, left=Left(10, 0.0, time.time())).take(86_400)  # another limit: another day


@pytest.mark.parametrize("text", ["{", "[]", '{"alice": 3}', '{"alice": {"tokens": 1}}'])
def test_a_file_that_says_something_else_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "used"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AuroraError, match="delete it"):
        QuotaFile(path).read()


def test_a_quota_that_cannot_be_kept_is_an_error_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    keys.add(path, "alice", KeyLimits(tokens_per_minute=5))
    nowhere = tmp_path / "missing" / "used"
    assert quota_file(keys.read(path), path, nowhere) is not None  # there is nothing to keep
    keys.add(path, "bob", KeyLimits(tokens_per_day=5))
    with pytest.raises(AuroraError, match=r"missing/used cannot be written.*--quota-file"):
        quota_file(keys.read(path), path, nowhere)
    with pytest.raises(AuroraError, match="--api-key-file"):
        quota_file(None, None, nowhere)
    assert quota_file(None, None, None) is None
