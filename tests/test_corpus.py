"""The shipped training corpus is well formed, clean and described truthfully."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from pathlib import Path

import pytest

CORPUS = Path(__file__).resolve().parents[1] / "train" / "corpus"
LANGUAGES = ("en", "fi", "hi", "ja", "vi")
FILES = (*LANGUAGES, "python")
SCRIPTS = {"hi": ("DEVANAGARI",), "ja": ("HIRAGANA", "KATAKANA", "CJK")}
RESIDUE = re.compile(r"</?[a-z!][^<>]*>|&(?:#\d+|[a-z]+);", re.IGNORECASE)
TABLE_ROW = re.compile(r"^\| (\S+\.jsonl) \| (\d+) \| (\d+) \| (\d+) \| ([0-9a-f]{64}) \|$", re.M)


def documents(name: str) -> list[dict[str, str]]:
    """Read one corpus file as its list of documents."""
    data = (CORPUS / f"{name}.jsonl").read_bytes()
    assert data.endswith(b"\n")
    assert b"\r" not in data
    return [json.loads(line) for line in data.decode("utf-8").removesuffix("\n").split("\n")]


@pytest.mark.parametrize("name", FILES)
def test_documents_are_well_formed(name: str) -> None:
    """Every line holds an id and a non-empty text, and ids are unique and sorted."""
    rows = documents(name)
    ids = [row["id"] for row in rows]
    assert all(set(row) == {"id", "text"} and row["text"].strip() for row in rows)
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("lang", LANGUAGES)
def test_pages_are_clean_prose(lang: str) -> None:
    """A language has a hundred pages or more, without markup and without repeated paragraphs."""
    rows = documents(lang)
    paragraphs = [text for row in rows for text in row["text"].split("\n")]
    assert len(rows) >= 100
    assert not [text for text in paragraphs if RESIDUE.search(text)]
    assert all(text == " ".join(text.split()) and text for text in paragraphs)
    assert len(paragraphs) == len(set(paragraphs))


@pytest.mark.parametrize("lang", SCRIPTS)
def test_pages_use_the_script_of_their_language(lang: str) -> None:
    """Most letters of a page belong to the writing system of its language."""
    for row in documents(lang):
        names = [unicodedata.name(char, "") for char in row["text"] if char.isalpha()]
        native = sum(name.startswith(SCRIPTS[lang]) for name in names)
        assert native > len(names) / 2, row["id"]


def test_no_translation_repeats_the_english_page() -> None:
    """No paragraph of a translated page is the English one."""
    english = {text for row in documents("en") for text in row["text"].split("\n")}
    for lang in LANGUAGES[1:]:
        for row in documents(lang):
            assert english.isdisjoint(row["text"].split("\n")), (lang, row["id"])


def test_languages_share_pages() -> None:
    """At least sixty pages are present in all five languages."""
    ids = [{row["id"] for row in documents(lang)} for lang in LANGUAGES]
    assert len(set.intersection(*ids)) >= 60


def test_python_modules_name_their_version() -> None:
    """The code corpus holds fifty modules or more of one interpreter version."""
    ids = [row["id"] for row in documents("python")]
    assert len(ids) >= 50
    assert len({name.partition("/")[0] for name in ids}) == 1
    assert all(re.fullmatch(r"cpython-\d+\.\d+\.\d+\S*/[\w/]+\.py", name) for name in ids)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MPL-2.0", "Mozilla Public License Version 2.0"),
        ("Apache-2.0", "Apache License"),
        ("PSF-2.0", "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2"),
    ],
)
def test_licence_texts_lie_beside(name: str, words: str) -> None:
    """Each licence named in the README is shipped in full."""
    text = (CORPUS / f"LICENSE-{name}.txt").read_text(encoding="utf-8")
    assert words in text
    assert len(text) > 5_000
    assert name in (CORPUS / "README.md").read_text(encoding="utf-8")


def test_readme_table_is_true() -> None:
    """The README's counts and checksums are those of the files, and it stays short."""
    readme = (CORPUS / "README.md").read_text(encoding="utf-8")
    table = {row[0]: row[1:] for row in TABLE_ROW.findall(readme)}
    assert set(table) == {path.name for path in CORPUS.glob("*.jsonl")}
    assert set(table) == {f"{name}.jsonl" for name in FILES}
    for name in FILES:
        rows = documents(name)
        data = (CORPUS / f"{name}.jsonl").read_bytes()
        characters = sum(len(row["text"]) for row in rows)
        actual = (len(rows), characters, len(data), hashlib.sha256(data).hexdigest())
        assert table[f"{name}.jsonl"] == tuple(map(str, actual))
    assert len(readme.splitlines()) <= 40


def test_corpus_stays_small() -> None:
    """The whole corpus folder is at most three megabytes."""
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) <= 3_000_000
