"""Writes public evaluation texts as JSON lines (`id`, `text`) that `train.watch.sets` can name.

    python -m scripts.build_eval_sets DATA OUT

DATA holds PUD (en, fi, hi), XQuAD (en, hi, vi), JSQuAD (ja), Finnish TDT and held-out Python as
their projects publish them; nothing of them is kept in this repository.
"""

import json
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from aurora_release import atomic
from aurora_release.evidence import canonical

Rows = Iterator[tuple[str, str]]


def pud(data: Path, language: str) -> Rows:
    """Yield the sentences of Parallel Universal Dependencies in one language."""
    for row in _lines(data / "eval-pud" / "pud_en_fi_hi.jsonl"):
        yield row["id"], row[language]


def xquad(data: Path, language: str) -> Rows:
    """Yield the paragraphs of XQuAD in one language."""
    for row in _lines(data / "eval-xquad" / f"xquad.{language}.jsonl"):
        yield row["id"], row["context"]


def jsquad(data: Path) -> Rows:
    """Yield the paragraphs of JSQuAD's validation set, their titles left out."""
    path = data / "eval-jglue" / "jsquad-v1.3.valid.json"
    for article in json.loads(path.read_bytes())["data"]:
        for number, paragraph in enumerate(article["paragraphs"]):
            yield f"{article['title']}-{number}", paragraph["context"].partition("[SEP]")[2].strip()


def tdt(data: Path) -> Rows:
    """Yield the documents of Finnish TDT's test set, sentences joined."""
    rows = _lines(data / "eval-ud-text" / "fi_tdt-test.jsonl")
    for document, sentences in groupby(rows, key=lambda row: row["id"].partition(".")[0]):
        yield document, " ".join(sentence["text"] for sentence in sentences)


def python(data: Path) -> Rows:
    """Yield held-out Python files, cut into pieces of about 1,500 characters at line ends."""
    for row in _lines(data / "code-python" / "python.heldout.jsonl"):
        piece, number = "", 0
        for line in row["text"].splitlines(keepends=True):
            piece += line
            if len(piece) >= 1500:
                yield f"{row['id']}#{number}", piece
                piece, number = "", number + 1


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def main() -> None:
    """Write every set into OUT."""
    data, out = (Path(argument) for argument in sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    sets = {f"pud-{language}": pud(data, language) for language in ("en", "fi", "hi")}
    sets |= {f"xquad-{language}": xquad(data, language) for language in ("en", "hi", "vi")}
    sets |= {"jsquad-ja": jsquad(data), "tdt-fi": tdt(data), "python-heldout": python(data)}
    for name, rows in sets.items():
        lines = [canonical({"id": identity, "text": text}) + b"\n" for identity, text in rows]
        atomic.write_bytes(out / f"{name}.jsonl", b"".join(lines))
        sys.stdout.write(f"{name:<16} {len(lines):5} documents\n")


if __name__ == "__main__":
    main()
