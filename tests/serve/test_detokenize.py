from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_release.serve.engines.detokenize import Detokenizer, StopStrings

letters = st.text(st.sampled_from("ab"), max_size=12)


@given(letters, st.lists(letters.filter(bool), max_size=3), st.data())
def test_stop_strings_do_not_depend_on_how_the_text_was_cut(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    ends = [text.index(stop) + len(stop) for stop in stops if stop in text]
    for include in (False, True):
        filters = StopStrings(stops, include)
        emitted, rest, stopped = "", text, False
        while rest and not stopped:
            size = data.draw(st.integers(1, len(rest)))
            free, stopped = filters.push(rest[:size])
            emitted += free
            rest = rest[size:]
        assert stopped == bool(ends)
        if not stopped:
            assert emitted + filters.finish() == text
        elif include:
            assert emitted == text[: min(ends)]
        else:
            assert not any(stop in emitted for stop in stops)
            assert text.startswith(emitted)


@pytest.mark.parametrize("text", ["hyppää 素早い狐 🦊🦊 तेज़ भूरी", "a" * 200, "🦊" * 40])
def test_text_comes_in_whole_characters_and_all_of_it(
    tiny_tokenizer_folder: Path, text: str
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    ids = tokenizer.encode(text)
    detokenizer = Detokenizer(tokenizer.decode, tokenizer.encode("a prompt: "))
    pieces = [detokenizer.push(token) for token in ids]
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces)
