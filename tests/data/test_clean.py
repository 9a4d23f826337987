"""Cleaning keeps text, drops what repeats or is too short, and counts both."""

from collections import Counter

from aurora_release.data.clean.normalise import clean, normalise
from aurora_release.data.documents import Document


def test_text_is_normalised_without_losing_words() -> None:
    assert normalise("a\r\nb\x00c\n\n\n\n de\u0301") == "a\nbc\n\n dé"


def test_short_and_repeated_documents_are_dropped_and_counted() -> None:
    documents = [Document(str(n), str(n), text) for n, text in enumerate(["x" * 9, "y", "x" * 9])]
    counts: Counter[str] = Counter()
    removed: list[tuple[str, str, str]] = []
    kept = list(clean(documents, 5, counts, removed))
    assert [document.id for document in kept] == ["0"]
    assert counts["read"] == 3
    assert removed == [("1", "short", "1"), ("2", "repeated", "0")]


def test_a_short_answer_is_no_short_document() -> None:
    pair = Document("1", "1", "No.", prompt="Is it?")
    assert list(clean([pair], 80, Counter(), [])) == [pair]
