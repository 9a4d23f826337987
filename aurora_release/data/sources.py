"""Reads the recipe's sources as documents."""

import json
from collections.abc import Iterator
from pathlib import Path

from aurora_release.data.documents import Document
from aurora_release.errors import AuroraError
from aurora_release.recipe import Source
from aurora_release.safety import ledger
from aurora_release.shipped import resolve


def read(source: Source, beside: Path) -> Iterator[Document]:
    """Yield the documents of a source in file order.

    Raises:
        AuroraError: the file is missing or a line is not a document, with its number.
    """
    path = resolve(source.path, beside)
    if not path.is_file():
        raise AuroraError(
            f"{path} is missing: data.sources.{source.name}.path names it. "
            "Correct the path, or build the file."
        )
    return _pairs(path) if source.kind == "pairs" else _texts(path)


def _texts(path: Path) -> Iterator[Document]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            yield _text(path, number, line)


def _text(path: Path, number: int, line: str) -> Document:
    try:
        content = json.loads(line)
        identity, text = content["id"], content["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise AuroraError(
            f'{path}:{number} is not a document ({error!r}); expected {{"id": …, "text": …}}.'
        ) from None
    if not isinstance(identity, str) or not isinstance(text, str):
        raise AuroraError(f"{path}:{number}: id and text must be strings.")
    return Document(identity, identity, text)


def _pairs(path: Path) -> Iterator[Document]:
    for record in ledger.read(path):
        yield Document(
            f"{record.language}/{record.id}",
            record.id.rpartition("-")[0],
            record.response,
            record.prompt,
            record.model_dump_json(),
        )
