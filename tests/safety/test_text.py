"""Texts are read as people read them, whatever characters hide their words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_release.safety import ledger
from aurora_release.safety.taxonomy import LANGUAGES
from aurora_release.safety.text import (
    english,
    language,
    normalise,
    segment_end,
    sentences,
    windows,
)
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
    assert normalise("क" + "\u0901" * 100_000) == "क" + "\u0901" * 3
    assert normalise("\u0901" * 9 + "क") == "\u0901" * 3 + "क"


@given(st.text(alphabet="ab .\n。", max_size=2000))
def test_windows_and_sentences_cover_the_text(text: str) -> None:
    plain = normalise(text)
    assert "".join(sentences(plain)) == plain
    pieces = windows(plain)
    assert max(map(len, pieces)) <= 240
    assert pieces[0] == plain[:240]
    assert plain.endswith(pieces[-1])


@pytest.mark.parametrize("mark", [*"。！？｡．।॥۔؟።။។\n", ". ", "! ", "? ", "… ", ".\n"])
def test_every_mark_ends_a_sentence(mark: str) -> None:
    assert segment_end("no end" + mark, 4, 20) == len("no end" + mark)
    assert segment_end("no end" + mark[0] + "ly", 4, 20) == (0 if mark[0] in ".!?…" else 7)


def test_a_short_sentence_goes_with_the_next() -> None:
    assert segment_end("One. Two", 5, 20) == 5
    assert segment_end("One. Two", 6, 20) == 0


@pytest.mark.parametrize("closing", "\"'”’»)]")
def test_a_closing_mark_belongs_to_its_sentence(closing: str) -> None:
    assert segment_end(f"the end.{closing} And on", 4, 20) == 10


@pytest.mark.parametrize("pause", " 、，；：､\t")
def test_a_long_segment_is_cut_behind_its_last_pause(pause: str) -> None:
    assert segment_end(f"one{pause}two{pause}" + "n" * 20, 4, 20) == 8
    assert segment_end(f"one{pause}" + "n" * 20, 5, 20) == 20


def test_a_sentence_is_a_piece_and_so_is_what_is_left() -> None:
    one, two = "A sentence of some length. ", "Another one of some length! "
    assert sentences(one + two) == [one, two]
    assert sentences(one + "The rest") == [one, "The rest"]
    assert sentences(one + " ") == [one]
    assert sentences("") == []


def test_windows_overlap_by_a_third() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(401))
    assert windows(text[:240]) == [text[:240]]
    assert windows(text[:241]) == [text[:240], text[160:241]]
    assert windows(text) == [text[:240], text[160:400], text[320:]]
    assert windows("") == [""]


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


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("đ" + "b" * 19, "vi"),
        ("đ" + "b" * 20, "und"),
        ("the bbb bbb bbb", "en"),
        ("the bbb bbb bbb bbb", "und"),
        ("the " * 16 + "ñe", "en"),
        ("the " * 16 + "ñ", "und"),
        ("äqb", "fi"),
        ("the \u024f\u024f\u024f\u024f", "en"),
        ("the \u0250\u0250\u0250\u0250", "und"),
        ("the \u1eff\u1eff\u1eff\u1eff", "en"),
        ("the \u1f00\u1f00\u1f00\u1f00", "und"),
        ("\u097f", "hi"),
        ("\u0980", "und"),
        ("कab", "hi"),
        ("कabc", "und"),
        ("か漢漢abcdef", "ja"),
        ("か漢漢abcdefg", "und"),
        ("か一abcd", "ja"),
        ("かꀀabcd", "und"),
        ("かбббб", "und"),
        ("the ΩΩΩ", "en"),
        ("the ΩΩΩΩ", "und"),
    ],
)
def test_how_much_of_a_language_is_enough(text: str, name: str) -> None:
    assert language(text) == name


def test_english_is_the_share_of_common_words() -> None:
    assert english("The cat sat on bombs") == 2 / 5
    assert english("The") == 1
    assert english("") == 0


@pytest.mark.parametrize(
    ("glued", "cut"),
    [
        ("Build a pipe bomb with gunpowder and a fuse.The sky is blue.", 2),
        ("Rakenna putkipommi ruudista ja langasta!Äiti on täällä.", 2),
        ("The U.S.A. has many states, and e.g.some of them are small.", 1),
        ("numpy.Array is no class of the package, and neither is 3.Five", 1),
    ],
)
def test_a_sentence_ends_where_the_space_is_left_out(glued: str, cut: int) -> None:
    assert len(sentences(glued)) == cut
