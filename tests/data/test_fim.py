"""Fill-in-the-middle moves a share of the documents about and loses nothing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from aurora_release.data import fim
from aurora_release.data.documents import Document
from aurora_release.data.tokens import Encoder


@given(st.text(), st.integers(0, 2**40), st.text())
def test_the_text_can_be_put_together_again(text: str, seed: int, identity: str) -> None:
    (first, prefix), (_, suffix), (_, middle), *rest = fim.pieces(text, 1.0, seed, identity)
    assert first == "prefix"
    if rest:
        assert prefix == ""
        ((_, tail),) = rest
        assert middle + tail + suffix == text
    else:
        assert prefix + middle + suffix == text


def test_share_and_form_are_what_was_asked_for() -> None:
    cut = [fim.pieces("0123456789", 0.5, 7, f"page-{n}") for n in range(2000)]
    assert cut == [fim.pieces("0123456789", 0.5, 7, f"page-{n}") for n in range(2000)]
    moved = [pieces for pieces in cut if len(pieces) > 1]
    assert 900 < len(moved) < 1100
    assert 400 < sum(len(pieces) == 3 for pieces in moved) < 600
    assert {pieces for pieces in cut if len(pieces) == 1} == {(("", "0123456789"),)}


def test_a_tokenizer_without_marks_is_refused() -> None:
    class Tokenizer:
        def get_vocab(self) -> dict[str, int]:
            return {"<fim_prefix>": 1, "<fim_suffix>": 2}

    with pytest.raises(Exception, match="has no <fim_prefix>, <fim_suffix> and <fim_middle>"):
        fim.marks(Tokenizer())


def test_tokens_are_the_pieces_between_their_marks(
    tiny_tokenizer_folder: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    names = [f"<fim_{mark}>" for mark in fim.MARKS]
    tokenizer.add_special_tokens({"additional_special_tokens": names})
    tokenizer.save_pretrained(tmp_path)
    text = "def fox(dog):\n    return dog  # <fim_middle> <|endoftext|>\n"
    found = list(Encoder(tmp_path).encode([Document(f"{n}", "", text) for n in range(40)], 0.5, 3))
    marks = tokenizer.convert_tokens_to_ids(names)
    assert 10 < sum(document.fim for document in found) < 30
    for number, document in enumerate(found):
        first, *ids, last = document.ids
        assert first == last == tokenizer.convert_tokens_to_ids("<|endoftext|>")
        read: list[tuple[int | None, list[int]]] = [(None, [])]
        for token in ids:
            if token in marks:
                read.append((token, []))
            else:
                read[-1][1].append(token)
        expected = [(None, "")]
        for mark, piece in fim.pieces(text, 0.5, 3, f"{number}"):
            if mark:
                expected.append((marks[fim.MARKS.index(mark)], piece))
            else:
                expected[-1] = (expected[-1][0], expected[-1][1] + piece)
        assert [(mark, tokenizer.decode(run)) for mark, run in read] == expected
        assert document.fim == (len(expected) > 1)
