"""The data stage: the token store of the cleaned text, and the counts that describe it."""

import json
import logging
from itertools import islice
from typing import Any

from aurora_release.data.documents import REPORT, documents
from aurora_release.data.mixture import repeats
from aurora_release.data.tokens import Encoder
from aurora_release.evidence import sha256_file
from aurora_release.recipe import Source
from aurora_release.run import Job

log = logging.getLogger(__name__)


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
            counts[source.name] = {**cleaned[source.name], **_add(job, source, encoder, writer)}
        writer.finish({
            "end_of_text": encoder.end_of_text,
            "tokenizer": sha256_file(base / "tokenizer.json"),
            "template": sha256_file(base / "chat_template.jinja"),
        })  # fmt: skip
    store = Store(job.folder)
    for sentence in repeats(job.recipe, store.windows):
        log.warning("data           %s", sentence)
    return {"sources": counts, "fertility": fertility(store.parts.values())}


def _add(job: Job, source: Source, encoder: Encoder, writer: Any) -> dict[str, Any]:
    """Add to the store what it has not got of a source; return what it then has."""
    rest = islice(documents(job.before["clean"], source.name), writer.done(source), None)
    part = writer.add(source, encoder.encode(rest, source.fim, job.recipe.seed))
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
