"""The store gives back what was put in, cut into samples that keep documents apart."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aurora_release.data.store import Store
from aurora_release.data.tokens import Tokens
from aurora_release.data.writer import Writer
from aurora_release.errors import AuroraError
from aurora_release.evidence import digests
from aurora_release.recipe import Source

TEXT = Source(name="fi", path="x", language="fi", license="MPL-2.0")
PAIRS = Source(name="pairs", path="x", language="fi", license="MPL-2.0", kind="pairs")
END = 0


def _store(folder: Path, length: int = 8) -> Store:
    with Writer(folder, length, vocabulary=300) as writer:
        writer.add(
            TEXT, [Tokens("a", [END, 1, 2, 3, END], 1), Tokens("b", [END, 4, 5, 6, 7, END], 1)]
        )
        writer.add(PAIRS, [Tokens("p", [9, 8, 7, 6], 2), Tokens("q", [5, 4, 3, 2, 1], 3)])
        writer.finish({"end_of_text": END})
    return Store(folder)


def test_running_text_is_cut_into_equal_windows(tmp_path: Path) -> None:
    store = _store(tmp_path)
    sample = store.sample("fi", 0)
    assert sample.tokens.tolist() == [0, 1, 2, 3, 0, 0, 4, 5]
    assert sample.documents == ("a", "b")
    assert store.parts["fi"].windows == 2


def test_positions_restart_in_every_document(tmp_path: Path) -> None:
    assert _store(tmp_path).sample("fi", 0).positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


def test_first_tokens_of_documents_and_padding_carry_no_loss(tmp_path: Path) -> None:
    store = _store(tmp_path)
    assert store.sample("fi", 0).labels.tolist() == [-100, 1, 2, 3, 0, -100, 4, 5]
    last = store.sample("fi", 1)
    assert last.tokens.tolist() == [6, 7, 0, 0, 0, 0, 0, 0]
    assert last.labels.tolist() == [-100, 7, 0, -100, -100, -100, -100, -100]


def test_pairs_stay_whole_and_only_answers_carry_loss(tmp_path: Path) -> None:
    store = _store(tmp_path)
    assert store.parts["pairs"].windows == 2
    first = store.sample("pairs", 0)
    assert first.tokens.tolist() == [9, 8, 7, 6, 0, 0, 0, 0]
    assert first.labels.tolist() == [-100, -100, 7, 6, -100, -100, -100, -100]
    assert store.sample("pairs", 1).documents == ("q",)


def test_pairs_that_fit_share_a_window(tmp_path: Path) -> None:
    store = _store(tmp_path, length=10)
    both = store.sample("pairs", 0)
    assert both.documents == ("p", "q")
    assert both.positions.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 0]
    assert both.labels.tolist() == [-100, -100, 7, 6, -100, -100, -100, 2, 1, -100]


def test_every_label_is_its_own_token_and_none_is_lost(tmp_path: Path) -> None:
    store = _store(tmp_path, length=3)
    samples = [store.sample("fi", window) for window in range(store.parts["fi"].windows)]
    for sample in samples:
        learned = sample.labels != -100
        assert np.array_equal(sample.labels[learned], sample.tokens[learned])
    assert [t for s in samples for t in s.tokens.tolist()][:11] == [0, 1, 2, 3, 0, 0, 4, 5, 6, 7, 0]


def test_a_folder_without_a_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="is not a token store"):
        Store(tmp_path)


def _write(folder: Path, texts: list[Tokens], shard_bytes: int = 2**30) -> Writer:
    folder.mkdir(exist_ok=True)
    with Writer(folder, 8, 300, shard_bytes) as writer:
        writer.add(TEXT, texts[writer.done(TEXT) :])
        writer.add(PAIRS, [Tokens("p", [9, 8, 7, 6], 2, license="MIT")][writer.done(PAIRS) :])
        writer.finish({"end_of_text": END})
    return writer


DOCUMENTS = [Tokens(f"d{n}", [END, *range(1, 2 + n % 7), END], 1) for n in range(50)]


@pytest.mark.parametrize("shard_bytes", [2, 14, 60])
def test_shards_of_any_size_hold_the_same_samples(tmp_path: Path, shard_bytes: int) -> None:
    _write(tmp_path / "one", DOCUMENTS)
    _write(tmp_path / "many", DOCUMENTS, shard_bytes)
    one, many = Store(tmp_path / "one"), Store(tmp_path / "many")
    assert len(one.shards) == 1
    assert len(many.shards) == -(-many.tokens * 2 // shard_bytes)
    for name, part in one.parts.items():
        for window in range(part.windows):
            assert np.array_equal(one.sample(name, window).tokens, many.sample(name, window).tokens)
    many.check()


def test_a_changed_shard_is_named(tmp_path: Path) -> None:
    _write(tmp_path, DOCUMENTS, 60)
    with (tmp_path / "tokens-00001.bin").open("r+b") as file:
        file.write(b"\xff")
    with pytest.raises(AuroraError, match=r"tokens-00001\.bin is not the shard"):
        Store(tmp_path).check()


def test_every_token_has_a_document_a_source_and_a_licence(tmp_path: Path) -> None:
    many = [Tokens(f"d{n}", [END, *range(1, 2 + n % 7), END], 1) for n in range(1300)]
    _write(tmp_path, many)
    store = Store(tmp_path)
    found: dict[str, int] = {}
    for window in range(store.parts["fi"].windows):
        for span in store.spans("fi", window):
            (name,) = store.ids(span.document, span.document + 1)
            assert store.license("fi", span.document) == "MPL-2.0"
            found[name] = found.get(name, 0) + span.high - span.low
    assert found == {document.id: len(document.ids) for document in many}
    (pair,) = store.spans("pairs", 0)
    assert store.license("pairs", pair.document) == "MIT"
    assert store.parts["pairs"].licenses == {"MIT": 4}


def test_labels_are_counted_without_reading_tokens(tmp_path: Path) -> None:
    store = _store(tmp_path, length=3)
    for name, part in store.parts.items():
        for window in range(part.windows):
            assert store.labels(name, window) == (store.sample(name, window).labels != -100).sum()


@pytest.mark.parametrize("killed_after", [0, 1, 17, 49])
def test_a_killed_writer_goes_on_and_writes_the_same_bytes(
    tmp_path: Path, killed_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aurora_release.data.writer._SAVE_TOKENS", 20)
    _write(tmp_path / "whole", DOCUMENTS, 60)

    def dies() -> Iterator[Tokens]:
        yield from DOCUMENTS[:killed_after]
        raise KeyboardInterrupt

    (tmp_path / "killed").mkdir()
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path / "killed", 8, 300, 60) as writer:
        writer.add(TEXT, dies())
    _write(tmp_path / "killed", DOCUMENTS, 60)
    assert digests(tmp_path / "killed") == digests(tmp_path / "whole")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tokens", 10**9), ("documents", -1), ("sequence_length", 0), ("dtype", "|O"),
        ("shards", {"../tokens-00000.bin": ""}), ("sources", []), ("shard_tokens", "1"),
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_add_up_is_refused(
    tmp_path: Path, key: str, value: object
) -> None:
    _store(tmp_path)
    path = tmp_path / "store.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {key: value}), encoding="utf-8")
    with pytest.raises(AuroraError, match=r"store\.json does not .* --redo data"):
        Store(tmp_path)


def test_a_source_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    _store(tmp_path)
    path = tmp_path / "store.json"
    manifest = json.loads(path.read_bytes())
    manifest["sources"][0]["kind"] = "texts"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(AuroraError, match=r"sources\.0\.kind(.|\n)*text.*pairs"):
        Store(tmp_path)


@pytest.mark.parametrize("name", ["starts.npy", "marks.npy", "tokens-00000.bin", "id-starts.npy"])
def test_a_file_that_was_cut_is_named(tmp_path: Path, name: str) -> None:
    _store(tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(AuroraError, match=f"{name} is not the .* that store.json describes"):
        Store(tmp_path)


def test_an_index_out_of_order_is_named(tmp_path: Path) -> None:
    _store(tmp_path)
    path = tmp_path / "starts.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-16] + (99).to_bytes(8, "little") + content[-8:])
    with pytest.raises(AuroraError, match="starts.npy is not the index"):
        Store(tmp_path).check()
