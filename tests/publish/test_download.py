"""A release is found by its Hub id, at a commit that is pinned and said."""

import logging
from pathlib import Path

import pytest

from aurora_release import chain, download
from aurora_release.errors import AuroraError
from aurora_release.publish.publish import Target, publish
from tests.standin_state import StandIn

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("org/name", ("org/name", "", None)),
        ("org/name@v1", ("org/name", "", "v1")),
        ("org/name/nf4@main", ("org/name", "nf4", "main")),
        ("nowhere", None),
        ("./org/name", None),
        ("/org/name", None),
        ("tests/nowhere", None),
    ],
)
def test_a_path_is_told_from_a_hub_id(
    text: str, found: tuple[str, str, str | None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent.parent)
    assert download.reference(text) == (found and download.Reference(*found))


def test_a_published_release_is_verified_served_and_compared_by_its_id(
    hub: StandIn, released: Path, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    publish(released, Target("org/small", tag="v1"))
    commit = hub.repos["org/small"].tags["v1"]
    with caplog.at_level(logging.INFO):
        chain.verify("org/small@v1")
    assert f"org/small@v1 is commit {commit}" in caplog.text
    assert "FAIL" not in capsys.readouterr().out
    assert chain.diff("org/small", str(released), as_json=False).startswith("The same release")

    # a model leaves variants, pictures and evidence where they are
    root = download.model("org/small")
    assert (root / "model.safetensors").is_file()
    variant = download.model("org/small/nf4@v1")
    assert variant.name == "nf4" and (variant / "config.json").is_file()


def test_what_the_hub_does_not_have_is_named(
    hub: StandIn, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(released)  # a checkout may hold runs/demo
    with pytest.raises(AuroraError, match="org/none is no folder here, and cannot be fetched"):
        download.release("org/none")
    with pytest.raises(AuroraError, match="runs/demo/cat is no folder here, and the repository"):
        download.model("runs/demo/cat")
    publish(released, Target("org/small"))
    with pytest.raises(AuroraError, match="has no such revision"):
        download.release("org/small@v9")


def test_an_interrupted_download_is_named_and_goes_on(
    hub: StandIn, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    publish(released, Target("org/small"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.fail("GET /org/small/resolve", "stall", times=99)
    with pytest.raises(AuroraError, match="cannot be fetched: "):
        download.release("org/small")
    hub.faults.clear()
    assert (download.release("org/small") / "SHA256SUMS").is_file()


@pytest.mark.parametrize("call", ["GET /api/models", "GET /org/small/resolve"])
def test_a_connection_that_breaks_once_is_not_the_end(
    call: str, hub: StandIn, released: Path
) -> None:
    publish(released, Target("org/small"))
    hub.fail(call, "drop")
    assert (download.release("org/small") / "SHA256SUMS").is_file()
    hub.fail("GET /api/models", "drop", times=9)
    with pytest.raises(AuroraError, match="cannot be fetched: "):
        download.release("org/small")
    hub.faults.clear()
