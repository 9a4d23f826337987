"""The store gives back what was put in, cut into samples that keep documents apart."""

from pathlib import Path

import numpy as np
import pytest

from aurora_release.data.store import Store
from aurora_release.data.tokens import Tokens
from aurora_release.data.writer import Writer
from aurora_release.errors import AuroraError
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
