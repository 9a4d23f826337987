"""The data stage: the token store of the cleaned text, and the counts that describe it."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from aurora_release.data.documents import REPORT, Document, documents
from aurora_release.data.tokens import Encoder
from aurora_release.evidence import sha256_file
from aurora_release.recipe import Source
from aurora_release.run import Job

log = logging.getLogger(__name__)


def build(job: Job) -> dict[str, Any]:
    """Write the token store; return counts by source."""
    from aurora_release.data.store import Writer

    base = job.before["base"]
    encoder = Encoder(base)
    data = job.recipe.data
    cleaned = json.loads((job.before["clean"] / REPORT).read_bytes())["sources"]
    counts = {}
    with Writer(job.folder, data.sequence_length, encoder.vocabulary) as writer:
        for source in data.sources:
            counts[source.name] = _add(job, source, cleaned[source.name], encoder, writer)
        writer.finish({
            "end_of_text": encoder.end_of_text,
            "tokenizer": sha256_file(base / "tokenizer.json"),
            "template": sha256_file(base / "chat_template.jinja"),
        })  # fmt: skip
    return {"sources": counts}


def _add(job: Job, source: Source, cleaned: dict[str, Any], encoder: Encoder, writer: Any) -> Any:
    """Add one source to the store; return what is known of it."""
    characters: Counter[str] = Counter()
    train = _counted(documents(job.before["clean"], source.name), characters)
    part = writer.add(source, encoder.encode(train))
    log.info(
        "data           %-18s %5d documents, %9d tokens", source.name, part.documents, part.tokens
    )
    return {
        **cleaned,
        "documents": part.documents,
        "tokens": part.tokens,
        "windows": part.windows,
        "characters": characters["train"],
    }


def _counted(documents: Iterable[Document], characters: Counter[str]) -> Iterator[Document]:
    for document in documents:
        characters["train"] += len(document.prompt or "") + len(document.text)
        yield document
