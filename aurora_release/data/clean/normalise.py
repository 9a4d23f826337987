"""Cleans documents: Unicode and space normalised, short and repeated ones dropped, all counted."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from aurora_release.data.documents import Document

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufeff\ufffe\uffff]")
_BLANK_LINES = re.compile(r"\n\s*\n\s*\n+")


def normalise(text: str) -> str:
    """Return `text` in NFC with Unix line ends and without control characters or blank runs."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _BLANK_LINES.sub("\n\n", _CONTROL.sub("", text)).strip()


def clean(
    documents: Iterable[Document],
    min_characters: int,
    counts: Counter[str],
    removed: list[tuple[str, str, str]],
) -> Iterator[Document]:
    """Yield the documents worth keeping; `counts` says how many were read, `removed` which went."""
    seen: dict[bytes, str] = {}
    for document in documents:
        counts["read"] += 1
        text = normalise(document.text)
        if document.prompt is None and len(text) < min_characters:
            removed.append((document.id, "short", str(len(text))))
            continue
        digest = hashlib.sha256(f"{document.prompt}\0{text}".encode()).digest()
        if digest in seen:
            removed.append((document.id, "repeated", seen[digest]))
            continue
        seen[digest] = document.id
        yield replace(document, text=text)
