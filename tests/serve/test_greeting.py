import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from aurora_release.safety.policy import Policy, load
from aurora_release.serve import greeting, keys
from aurora_release.serve.engines.choose import Choice, open_engine
from aurora_release.serve.keys import KeyLimits
from aurora_release.shipped import shipped

DEFAULT = shipped("serve/policies/default.yaml")


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    monkeypatch.setattr(logging.getLogger("aurora_release"), "propagate", True)
    caplog.set_level(logging.INFO, "aurora_release")
    yield


def changed(folder: Path, *changes: tuple[str, str]) -> Policy:
    """Return the shipped policy with the first of some words replaced."""
    text = DEFAULT.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "own.yaml").write_text(text, "utf-8")
    return load(folder / "own.yaml")


def test_the_shipped_policy_lets_no_area_through(caplog: pytest.LogCaptureFixture) -> None:
    greeting.filter_of(load(DEFAULT))
    assert (
        "harmful prompts and answers are blocked" in caplog.text
        and "LET THROUGH" not in caplog.text
    )


@pytest.mark.parametrize(("direction", "texts"), [("input", "prompts"), ("output", "answers")])
def test_an_area_that_passes_is_said_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, direction: str, texts: str
) -> None:
    greeting.filter_of(changed(tmp_path, (f"    {direction}: block", f"    {direction}: flag")))
    [loud] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert loud.getMessage() == f"Harmful {texts} are LET THROUGH in: harm."


def test_a_filter_that_is_off_and_open_is_said_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changes = ("mode: block", "mode: off"), ("fail_closed: true", "fail_closed: false")
    greeting.filter_of(changed(tmp_path, *changes))
    assert "OFF" in caplog.text and "NOT BE JUDGED" in caplog.text


def test_who_may_ask_and_where_decisions_go_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    greeting.access(None, None)
    assert not caplog.messages
    keys.add(tmp_path / "keys", "alice", KeyLimits())
    greeting.access(keys.read(tmp_path / "keys"), tmp_path / "audit")
    assert caplog.messages == [f"API keys: 1 in {tmp_path}/keys", f"Audit log: {tmp_path}/audit"]


def test_upstreams_that_do_not_answer_are_said_loudly(
    tiny_llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    choice = Choice("openai", ("http://127.0.0.1:9",))
    engine = open_engine(tiny_llama, choice)
    greeting.upstreams(choice, engine)
    assert "Answers come from http://127.0.0.1:9" in caplog.messages
    assert "None of them answers" in caplog.messages[-1]
