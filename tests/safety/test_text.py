"""Texts are read as people read them, whatever characters hide their words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_release.safety import ledger
from aurora_release.safety.taxonomy import LANGUAGES
from aurora_release.safety.text import language, normalise, segment_end, sentences, windows
from aurora_release.shipped import shipped


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("bo\u200bm\u00adb", "bomb"),
        ("bo\0mb", "bomb"),
        ("ｂｏｍｂ", "bomb"),
        ("𝐛𝐨𝐦𝐛", "bomb"),
        ("b̶̷̴o̶m̶b̵", "bomb"),
        ("\u202ebomb\u202c", "bomb"),
        ("bomb\ud800", "bomb"),
        (" a \n\n\t b ", "a b"),
        ("ज़ूँ", normalise("ज़ूँ")),
        ("bằng", "bằng"),
        ("がぎ", "がぎ"),
    ],
)
def test_hidden_words_are_seen(text: str, plain: str) -> None:
    assert normalise(text) == plain


@given(st.text())
def test_normalised_text_can_always_be_embedded(text: str) -> None:
    plain = normalise(text)
    assert "\0" not in plain
    plain.encode()
    assert normalise(plain) == plain


def test_a_flood_of_marks_is_cut() -> None:
    assert len(normalise("क" + "\u0901" * 100_000)) < 10


@given(st.text(alphabet="ab .\n。", max_size=2000))
def test_windows_and_sentences_cover_the_text(text: str) -> None:
    plain = normalise(text)
    assert "".join(sentences(plain)) == plain
    pieces = windows(plain)
    assert max(map(len, pieces)) <= 240
    assert pieces[0] == plain[:240]
    assert plain.endswith(pieces[-1])


@given(st.text(alphabet="ab .!?\n。", max_size=60), st.text(alphabet="ab .!?\n。", max_size=60))
def test_what_follows_never_moves_the_end_of_a_segment(text: str, more: str) -> None:
    end = segment_end(text, 4, 20)
    assert end <= 20
    assert not end or segment_end(text + more, 4, 20) == end


@pytest.mark.parametrize("name", LANGUAGES)
def test_language_of_the_ledgers(name: str) -> None:
    records = ledger.read(shipped(f"train/safety/{name}.jsonl"))
    texts = [text for record in records for text in (record.prompt, record.response)]
    told = [language(normalise(text)) == name for text in texts]
    assert sum(told) / len(told) >= 0.98


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2 + 2 = ?",
        "Wie kann ich einen Kuchen backen?",
        "Comment faire un gâteau au chocolat ?",
        "¿Cómo hago una tarta?",
        "Hur gör man en tårta hemma?",
        "كيف أصنع كعكة",
        "怎么做蛋糕",
        "Как испечь торт?",
        "Nasıl kek yapılır",
    ],
)
def test_other_languages_are_undetermined(text: str) -> None:
    assert language(normalise(text)) == "und"
