"""Publishing with the real client of the Hub, to a stand-in that can be told to fail."""

import logging
from pathlib import Path

import pytest

from aurora_release import evidence
from aurora_release.card.stage import seal
from aurora_release.errors import AuroraError
from aurora_release.publish import publish as publishing
from aurora_release.publish import repository
from aurora_release.publish.publish import Target, publish, tag
from tests.standin_hub import TOKEN, StandIn

# the Hub's client sends large files in a way that httpx2 would have otherwise
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TO = Target("org/small")


def tree(hub: StandIn) -> dict[str, str]:
    """What the newest commit holds, without what the Hub itself put there."""
    files = hub.repos["org/small"].commits[-1].files
    return {name: file.sha256 for name, file in files.items() if name != ".gitattributes"}


def test_a_release_is_one_commit_that_verifies_and_is_tagged(hub: StandIn, released: Path) -> None:
    said = publish(released, TO)
    commits = hub.repos["org/small"].commits
    assert [commit.title for commit in commits] == ["initial commit", f"Release {tag(released)}"]
    assert tree(hub) == evidence.digests(released, ())
    assert hub.repos["org/small"].tags == {tag(released): commits[-1].oid}
    assert f"aurora verify org/small@{tag(released)}" in said
    assert not list(released.parent.glob(".verify-*"))


def test_the_same_release_again_changes_nothing(hub: StandIn, released: Path) -> None:
    first, second = publish(released, TO), publish(released, TO)
    assert second == first.replace("Published:", "Published before, and unchanged:")
    assert len(hub.repos["org/small"].commits) == 2


def test_a_later_release_takes_the_place_of_an_older_one(hub: StandIn, released: Path) -> None:
    publish(released, TO)
    files = hub.repos["org/small"].commits[-1].files
    hub.repos["org/small"].add("older", files | {"int8/config.json": files["config.json"]})
    publish(released, Target("org/small", tag="v2"))
    assert tree(hub) == evidence.digests(released, ())
    assert set(hub.repos["org/small"].tags) == {tag(released), "v2"}


def test_a_moved_parent_is_refused_and_nothing_is_half_published(
    hub: StandIn, released: Path
) -> None:
    hub.fail("POST /api/models/org/small/commit", "move")
    with pytest.raises(AuroraError, match="somebody else committed to it after"):
        publish(released, TO)
    assert tree(hub).keys() == {"theirs.txt"}
    assert hub.repos["org/small"].tags == {}


def test_somebody_elses_repository_is_left_alone(hub: StandIn, released: Path) -> None:
    with pytest.raises(AuroraError):
        hub.fail("commit", "move")
        publish(released, TO)
    with pytest.raises(AuroraError, match=r"something that is no release \(theirs\.txt\)"):
        publish(released, TO)


def test_an_upload_goes_on_after_a_dropped_connection(
    hub: StandIn, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "_LARGE", 1)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the client's six attempts
    digest = evidence.sha256_file(released / "nf4/model.safetensors")
    hub.fail(f"PUT /storage/{digest}", "drop", times=6)
    with pytest.raises(AuroraError, match=r"nf4/model\.safetensors did not arrive"):
        publish(released, TO)
    before = list(hub.stored)
    assert before and len(hub.repos["org/small"].commits) == 1
    publish(released, TO)
    assert len(hub.stored) == len(set(hub.stored)), "a file that had arrived was sent again"
    assert tree(hub) == evidence.digests(released, ())


@pytest.mark.parametrize("how", ["error", "drop"])
def test_what_fails_once_is_tried_again(
    hub: StandIn, released: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.fail("PUT /storage", how)
    hub.fail("POST /org/small.git/info/lfs", how)
    publish(released, TO)
    assert tree(hub) == evidence.digests(released, ())


def test_a_commit_whose_answer_was_lost_is_found_and_tagged(hub: StandIn, released: Path) -> None:
    publish(released, TO)
    hub.repos["org/small"].tags.clear()
    publish(released, TO)
    assert len(hub.repos["org/small"].commits) == 2
    assert list(hub.repos["org/small"].tags) == [tag(released)]


def test_a_hub_that_hangs_is_given_up(
    hub: StandIn, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "_SECONDS", 0.5)
    hub.fail("POST /api/models/org/small/commit", "stall")
    with pytest.raises(AuroraError, match="org/small was not changed: timed out"):
        publish(released, TO)
    assert len(hub.repos["org/small"].commits) == 1


def test_what_comes_back_changed_gets_no_tag(hub: StandIn, released: Path) -> None:
    whole = (released / "model.safetensors").read_bytes()
    publish(released, TO)
    (hub.blobs / evidence.sha256(whole)).write_bytes(whole.swapcase())
    hub.repos["org/small"].tags.clear()
    with pytest.raises(AuroraError, match=r"does not verify, .* no tag\. model\.safetensors was"):
        publish(released, TO)
    assert hub.repos["org/small"].tags == {}


def test_a_tag_never_moves(hub: StandIn, released: Path) -> None:
    publish(released, Target("org/small", tag="v1"))
    (released / "NOTICE").write_text("another", encoding="utf-8")
    content = evidence.read(released / "evidence.json")
    evidence.write(released, evidence.statement(evidence.digests(released), content["predicate"]))
    seal(released)
    with pytest.raises(AuroraError, match="has the tag v1 on other files"):
        publish(released, Target("org/small", tag="v1"))
    assert len(hub.repos["org/small"].commits) == 2


def test_a_private_release_never_lands_in_a_public_repository(hub: StandIn, released: Path) -> None:
    publish(released, Target("org/hidden", private=True))
    assert hub.repos["org/hidden"].private
    publish(released, TO)
    with pytest.raises(AuroraError, match="org/small is public, and you asked for a private one"):
        publish(released, Target("org/small", private=True))


def test_a_collection_is_made_once_and_holds_each_release_once(
    hub: StandIn, released: Path
) -> None:
    for name in ("org/small", "org/small", "org/other"):
        publish(released, Target(name, collection="Aurora small"))
    (found,) = hub.collections.values()
    assert [item["id"] for item in found["items"]] == ["org/small", "org/other"]


def test_the_token_is_asked_for_and_never_said(
    hub: StandIn, released: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        said = publish(released, TO)
        monkeypatch.setenv("HF_TOKEN", f"{TOKEN}x")
        with pytest.raises(AuroraError, match="the token may not do that") as refused:
            publish(released, Target("org/other"))
    assert TOKEN not in said + caplog.text + str(refused.value) + "".join(capfd.readouterr())
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(AuroraError, match="no token of the Hub"):
        publish(released, TO)


@pytest.mark.parametrize("sealed_again", [False, True])
@pytest.mark.parametrize("to", ["org/small", "file://"])
def test_what_was_replaced_after_the_checks_is_not_sent(
    hub: StandIn, released: Path, monkeypatch: pytest.MonkeyPatch, to: str, sealed_again: bool
) -> None:
    refusals = publishing.refusals

    def replaced(folder: Path, key: Path | None) -> list[str]:
        found = refusals(folder, key)
        (released / "NOTICE").write_text("a token", encoding="utf-8")
        if sealed_again:
            content = evidence.read(released / "evidence.json")
            subject = evidence.digests(released)
            evidence.write(released, evidence.statement(subject, content["predicate"]))
            seal(released)
        return found

    monkeypatch.setattr(publishing, "refusals", replaced)
    there = released.parent / "there"
    with pytest.raises(AuroraError, match=r"again|verify"):
        publish(released, Target(f"file://{there}" if to == "file://" else to))
    assert not there.exists()
    assert not hub.repos or not tree(hub)
