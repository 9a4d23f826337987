"""Fill-in-the-middle moves a share of the documents about and loses nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_release.data import fim


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
