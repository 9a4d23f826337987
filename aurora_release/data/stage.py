"""The data stage: held-out split, cleaning, token store, and the counts that describe them."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aurora_release import atomic
from aurora_release.data.clean import clean
from aurora_release.data.sources import Document, read
from aurora_release.data.tokens import Encoder
from aurora_release.errors import AuroraError
from aurora_release.evidence import canonical, sha256_file
from aurora_release.recipe import Source
from aurora_release.run import Job
from aurora_release.safety import ledger
from aurora_release.shipped import resolve
from aurora_release.split import held_out

log = logging.getLogger(__name__)


def build(job: Job) -> dict[str, Any]:
    """Write the token store and the held-out documents; return counts by source."""
    from aurora_release.data.store import Writer

    base = job.before["base"]
    encoder = Encoder(base)
    data = job.recipe.data
    (job.folder / "heldout").mkdir()
    counts = {}
    with Writer(job.folder, data.sequence_length, encoder.vocabulary) as writer:
        for source in data.sources:
            counts[source.name] = _add(job, source, encoder, writer)
        writer.finish({
            "end_of_text": encoder.end_of_text,
            "tokenizer": sha256_file(base / "tokenizer.json"),
            "template": sha256_file(base / "chat_template.jinja"),
        })  # fmt: skip
    return {"sources": counts}


def _add(job: Job, source: Source, encoder: Encoder, writer: Any) -> dict[str, Any]:
    """Add one source to the store and its held-out documents to their file."""
    counts: Counter[str] = Counter()
    characters: Counter[str] = Counter()
    kept = clean(read(source, job.beside), job.recipe.data.clean.min_characters, counts)
    out: list[Document] = []
    share = job.recipe.data.heldout if source.heldout is None else source.heldout
    train = _without_held_out(kept, share, out, characters)
    part = writer.add(source, encoder.encode(train))
    _write_held_out(job.folder / "heldout" / f"{source.name}.jsonl", out)
    _require(source, part.documents, "training documents", counts)
    if share:
        _require(source, len(out), "held-out documents", counts)
    log.info(
        "data           %-18s %5d documents, %9d tokens, %4d held out",
        source.name, part.documents, part.tokens, len(out),
    )  # fmt: skip
    return {
        "language": source.language,
        "license": source.license,
        "kind": source.kind,
        "read": counts["read"],
        "short": counts["short"],
        "repeated": counts["repeated"],
        "heldout": len(out),
        "documents": part.documents,
        "tokens": part.tokens,
        "windows": part.windows,
        "characters": characters["train"],
        **_ledger(job, source),
    }


def _without_held_out(
    documents: Iterable[Document], share: float, out: list[Document], characters: Counter[str]
) -> Iterator[Document]:
    for document in documents:
        if held_out(document.group, share):
            out.append(document)
        else:
            characters["train"] += len(document.prompt or "") + len(document.text)
            yield document


def _ledger(job: Job, source: Source) -> dict[str, Any]:
    """Return who wrote and reviewed the pairs of a source."""
    if source.kind != "pairs":
        return {}
    return {"ledger": ledger.stats(ledger.read(resolve(source.path, job.beside)))}


def _require(source: Source, number: int, what: str, counts: Counter[str]) -> None:
    if not number:
        raise AuroraError(
            f"data.sources.{source.name} has no {what} (language {source.language}, "
            f"{counts['read']} read, {counts['short']} too short, {counts['repeated']} repeated). "
            "Give it more text, lower data.clean.min_characters or change data.heldout."
        )


def _write_held_out(path: Path, documents: list[Document]) -> None:
    lines = [
        document.record.encode() if document.record
        else canonical({"id": document.id, "text": document.text})
        for document in documents
    ]  # fmt: skip
    atomic.write_bytes(path, b"".join(line + b"\n" for line in lines))
