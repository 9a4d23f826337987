"""A document, and how cleaned documents lie on disk: shards of canonical JSON lines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aurora_release.errors import AuroraError
from aurora_release.evidence import canonical

TEXT, HELDOUT, REMOVED, REPORT = "text", "heldout", "removed", "report.json"


@dataclass(frozen=True)
class Document:
    """A piece of text, or a prompt with its response."""

    id: str
    group: str
    """What is held out together: translations share a page id, twins and translations a topic."""
    text: str
    """The text, or the response of a pair."""
    prompt: str | None = None
    record: str = ""
    """The ledger line of a pair, as it stands in the ledger."""
    license: str = ""
    """Where it differs from the source's."""


def line(document: Document) -> bytes:
    """Return a document as one canonical JSON line; what is empty is left out."""
    content = {"id": document.id, "group": document.group, "text": document.text}
    if document.prompt is not None:
        content |= {"prompt": document.prompt, "record": document.record}
    if document.license:
        content["license"] = document.license
    return canonical(content) + b"\n"


def held_out_line(document: Document) -> bytes:
    """Return a held-out document as evaluation reads it: the ledger line of a pair, or its text."""
    if document.record:
        return document.record.encode() + b"\n"
    return canonical({"id": document.id, "text": document.text}) + b"\n"


def documents(folder: Path, source: str) -> Iterator[Document]:
    """Yield the training documents of a source from the folder of the clean stage, in input order.

    Raises:
        AuroraError: the folder holds no such source.
    """
    shards = sorted((folder / TEXT / source).glob("*.jsonl"))
    if not shards:
        raise AuroraError(f"{folder / TEXT / source} holds no documents; run the clean stage.")
    for shard in shards:
        with shard.open("rb") as file:
            for row in file:
                yield Document(**json.loads(row))
