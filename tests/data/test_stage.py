"""The data stage splits before anything else, and says what it did with every document."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aurora_release import recipe
from aurora_release.data.clean.stage import clean
from aurora_release.data.documents import Document, documents
from aurora_release.data.stage import build
from aurora_release.data.store import Store
from aurora_release.errors import AuroraError
from aurora_release.evidence import digests
from aurora_release.run import Job


def _job(folder: Path, base: Path, texts: list[str], **data: object) -> Job:
    lines = (json.dumps({"id": f"page-{n}", "text": text}) for n, text in enumerate(texts))
    (folder / "fi.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    stages = "[{name: cap, tokens: 1000, learning_rate: 0.001, mixture: {help-fi: 1}}]"
    found, _ = recipe.load("demo", (f"train.stages={stages}",))
    source = found.data.sources[1].model_copy(update={"path": "fi.jsonl", "name": "help-fi"})
    whole = found.data.model_copy(update={"sources": (source,), **data})
    cleaned, out = folder / "clean", folder / "out"
    cleaned.mkdir()
    out.mkdir()
    before = {"base": base, "clean": cleaned}
    return Job(found.model_copy(update={"data": whole}), folder, out, before)


def _build(job: Job) -> dict[str, Any]:
    clean(replace(job, folder=job.before["clean"]))
    return build(job)


def _held(job: Job) -> set[str]:
    lines = (job.before["clean"] / "heldout" / "help-fi.jsonl").read_text("utf-8").splitlines()
    return {json.loads(line)["id"] for line in lines}


def test_held_out_documents_are_in_no_sample(tmp_path: Path, tiny_llama: Path) -> None:
    texts = [f"sivu numero {n} " * 20 for n in range(80)]
    job = _job(tmp_path, tiny_llama, texts, sequence_length=64)
    counts = _build(job)["sources"]["help-fi"]
    held = {
        json.loads(line)["id"]
        for line in (job.before["clean"] / "heldout" / "help-fi.jsonl")
        .read_text("utf-8")
        .splitlines()
    }
    store = Store(job.folder)
    trained = {
        name
        for window in range(store.parts["help-fi"].windows)
        for name in store.sample("help-fi", window).documents
    }
    assert len(held) == counts["heldout"] > 0
    assert not held & trained
    assert len(held | trained) == counts["read"] == 80
    assert counts["tokens"] == store.parts["help-fi"].tokens


def test_the_split_does_not_move_when_the_corpus_grows(tmp_path: Path, tiny_llama: Path) -> None:
    held = []
    for size in (60, 80):
        (tmp_path / str(size)).mkdir()
        job = _job(tmp_path / str(size), tiny_llama, [f"sivu {n} " * 40 for n in range(size)])
        _build(job)
        held.append(_held(job))
    assert held[0] <= held[1]


def test_a_language_without_documents_is_an_error_that_says_why(
    tmp_path: Path, tiny_llama: Path
) -> None:
    job = _job(tmp_path, tiny_llama, ["lyhyt"] * 5)
    with pytest.raises(AuroraError, match=r"help-fi has no training documents .*5 short"):
        _build(job)


def test_a_line_that_is_no_document_is_named(tmp_path: Path, tiny_llama: Path) -> None:
    job = _job(tmp_path, tiny_llama, ["sivu " * 40])
    (tmp_path / "fi.jsonl").write_text('{"id": "a"}\n', encoding="utf-8")
    with pytest.raises(AuroraError, match=r"fi\.jsonl:1 is not a document"):
        _build(job)


def test_a_killed_stage_goes_on_and_leaves_the_same_bytes(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = _job(tmp_path, tiny_llama, [f"sivu numero {n} " * 20 for n in range(200)])
    _build(job)
    again = replace(job, folder=tmp_path / "again")
    again.folder.mkdir()
    read: list[str] = []

    def dies(folder: Path, source: str) -> Iterator[Document]:
        for document in documents(folder, source):
            read.append(document.id)
            if len(read) == 120:
                raise KeyboardInterrupt
            yield document

    monkeypatch.setattr("aurora_release.data.writer._SAVE_TOKENS", 500)
    monkeypatch.setattr("aurora_release.data.tokens._BATCH_DOCUMENTS", 8)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("aurora_release.data.stage.documents", dies)
        build(again)
    progress = json.loads((again.folder / "progress.json").read_bytes())
    assert 0 < progress["parts"][0]["documents"] < 120
    build(again)
    assert digests(again.folder) == digests(job.folder)
