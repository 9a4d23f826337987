"""The data stage: the token store of the cleaned text, and the counts that describe it."""

import json
import logging
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from aurora_release.data.documents import REPORT, Document, documents
from aurora_release.data.mixture import repeats
from aurora_release.data.tokens import Encoder
from aurora_release.evidence import sha256_file
from aurora_release.recipe import Source
from aurora_release.run import Job

log = logging.getLogger(__name__)

_SAY_SECONDS = 15


def build(job: Job) -> dict[str, Any]:
    """Write the token store; return counts by source."""
    from aurora_release.data.store import Store
    from aurora_release.data.vocabulary import fertility
    from aurora_release.data.writer import Writer

    base = job.before[job.recipe.start]
    encoder = Encoder(base)
    data = job.recipe.data
    cleaned = json.loads((job.before["clean"] / REPORT).read_bytes())["sources"]
    counts = {}
    with Writer(job.folder, data.sequence_length, encoder.vocabulary) as writer:
        for source in data.sources:
            facts = cleaned[source.name]
            counts[source.name] = {**facts, **_add(job, source, facts["kept"], encoder, writer)}
        writer.finish({
            "end_of_text": encoder.end_of_text,
            "tokenizer": sha256_file(base / "tokenizer.json"),
            "template": sha256_file(base / "chat_template.jinja"),
        })  # fmt: skip
    store = Store(job.folder)
    for sentence in repeats(job.recipe, store.windows):
        log.warning("data           %s", sentence)
    return {"sources": counts, "fertility": fertility(store.parts.values())}


def _add(job: Job, source: Source, kept: int, encoder: Encoder, writer: Any) -> dict[str, Any]:
    """Add to the store what it has not got of a source; return what it then has."""
    done = writer.done(source)
    rest = islice(documents(job.before["clean"], source.name), done, None)
    part = writer.add(
        source, encoder.encode(_told(rest, source, done, kept), source.fim, job.recipe.seed)
    )
    log.info(
        "data           %-18s %5d documents, %9d tokens", source.name, part.documents, part.tokens
    )
    return {
        "documents": part.documents,
        "tokens": part.tokens,
        "windows": part.windows,
        "characters": part.characters,
        "bytes": part.bytes,
        "words": part.words,
        "fim": part.fim,
        "licenses": part.licenses,
    }


def _told(found: Iterator[Document], source: Source, done: int, kept: int) -> Iterator[Document]:
    """Yield documents, and say now and then how far they have been read."""
    said = time.monotonic()
    for number, document in enumerate(found, done):
        if time.monotonic() - said > _SAY_SECONDS:
            said = time.monotonic()
            log.info("data           %-18s %d of %d documents", source.name, number, kept)
        yield document
