"""What must not go out does not, and the reason is a sentence; a folder is a target too."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aurora_release import evidence
from aurora_release.card import bom, chain, render
from aurora_release.card.stage import seal
from aurora_release.errors import AuroraError
from aurora_release.publish.checks import licences
from aurora_release.publish.publish import Target, publish, tag
from tests.standin_state import StandIn


def forge(folder: Path) -> None:
    """Make digests fit what lies in the folder, as somebody would who hides a change."""
    content = evidence.read(folder / "evidence.json")
    evidence.write(folder, evidence.statement(evidence.digests(folder), content["predicate"]))
    seal(folder)


def refusal(folder: Path, to: str = "org/small") -> str:
    with pytest.raises(AuroraError, match="is not published, and nothing was sent") as refused:
        publish(folder, Target(to))
    return str(refused.value)


def test_nothing_reaches_the_hub_when_a_gate_fails(hub: StandIn, released: Path) -> None:
    path = released / "evidence/evaluate-cat.json"
    content = json.loads(path.read_bytes())
    content["predicate"]["measured"]["bits_per_byte"]["python"]["bits_per_byte"] = 2.0
    path.write_bytes(evidence.canonical(content) + b"\n")
    whole = evidence.read(released / "evidence.json")
    whole["predicate"]["previous"]["evaluate-cat"] = evidence.sha256_file(path)
    evidence.write(released, whole)
    found, measured = chain.read(released), whole["predicate"]["measured"]
    for name, text in render.documents(found, measured).items():
        (released / name).write_text(text, encoding="utf-8")
    (released / "bom.json").write_text(bom.render(found, measured), encoding="utf-8")
    forge(released)
    assert "python: bits per byte went from" in refusal(released)
    assert hub.calls == [] and hub.repos == {}


def test_a_hand_edited_number_is_named(released: Path) -> None:
    card = released / "README.md"
    card.write_text(card.read_text("utf-8").replace("40,960", "50,960", 1), encoding="utf-8")
    sentence = refusal(released)
    assert "README.md was changed" in sentence
    assert "it says '50,960' where the evidence says '40,960'" in sentence


def test_deleted_evidence_is_named(released: Path) -> None:
    (released / "evidence/evaluate-cat.json").unlink()
    assert "evidence/evaluate-cat.json is missing" in refusal(released)


def test_evidence_older_than_its_run_is_named(released: Path, small_run: Path) -> None:
    shutil.copytree(small_run / "cat", released.parent / "cat")
    content = evidence.read(released.parent / "cat/evidence.json")
    content["predicate"]["measured"]["last_loss"] = 1.5
    evidence.write(released.parent / "cat", content)
    assert "evidence/cat.json is old: cat was done again" in refusal(released)


def test_a_missing_licence_is_named(released: Path) -> None:
    (released / "LICENSE").unlink()
    forge(released)
    said = refusal(released)
    assert "LICENSE is missing: the weights are under Apache-2.0" in said
    assert "model.license_file of the recipe and run again: nothing is trained a second" in said


@pytest.mark.parametrize("of_a_document", ["MIT", "other"])
def test_a_source_with_a_licence_for_each_document_needs_no_other_name(
    of_a_document: str, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = chain.read(released)
    first, *rest = found.recipe.data.sources
    nameless = first.model_copy(update={"license": "other", "license_key": "license"})
    data = found.recipe.data.model_copy(update={"sources": (nameless, *rest)})
    monkeypatch.setitem(
        found.stages["data"].predicate.measured["sources"][first.name], "licenses",
        {of_a_document: 9},
    )  # fmt: skip
    changed = replace(found, recipe=found.recipe.model_copy(update={"data": data}))
    monkeypatch.setattr(chain, "read", lambda folder: changed)
    wrong = [f"recipe.json: the licence of {first.name} is 'other': name it in the recipe."]
    assert licences(released) == (wrong if of_a_document == "other" else [])


@pytest.mark.parametrize(
    ("planted", "sentence"),
    [
        ("hf_" + "aB3" * 11 + "x", "NOTICE, line 3: a secret"),
        ("read from /home/aino/corpus.jsonl", "NOTICE, line 3: the personal path /home/aino"),
        (r"C:\\Users\\Aino\\corpus.jsonl", r"NOTICE, line 3: the personal path C:\\Users\\Aino"),
    ],
)
def test_planted_secrets_and_personal_paths_are_named(
    released: Path, planted: str, sentence: str
) -> None:
    path = released / "NOTICE"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines[:2], planted, *lines[2:]]), encoding="utf-8")
    forge(released)
    found = refusal(released, "file:///nowhere")
    assert sentence in found
    assert "aB3" not in found


def test_a_dry_run_names_files_and_target_and_asks_nobody(hub: StandIn, released: Path) -> None:
    said = publish(released, Target("org/small", private=True), dry_run=True)
    assert "It is not signed: `aurora sign` does that." in said
    assert "nf4/model.safetensors" in said
    assert f"under Apache-2.0, in one commit to org/small (private), tagged {tag(released)}" in said
    assert hub.calls == []
    with pytest.raises(AuroraError, match="--to small is neither org/name on the Hub nor file:"):
        publish(released, Target("small"), dry_run=True)


def test_a_folder_gets_a_whole_copy_once(released: Path, tmp_path: Path) -> None:
    to = Target((tmp_path / "shelf/small v1").as_uri())
    assert str(tmp_path / "shelf/small v1") in publish(released, to)
    copied = evidence.digests(tmp_path / "shelf/small v1", ())
    assert copied == evidence.digests(released, ())
    assert "holds this release already" in publish(released, to)
    (tmp_path / "shelf/small v1/NOTICE").write_text("another", encoding="utf-8")
    with pytest.raises(AuroraError, match="exists and is not this release"):
        publish(released, to)
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == ["small v1"]


@pytest.mark.parametrize("url", ["file://server/share", "file://"])
def test_a_file_url_needs_an_absolute_folder(released: Path, url: str) -> None:
    with pytest.raises(AuroraError, match="names no folder here"):
        publish(released, Target(url), dry_run=True)
