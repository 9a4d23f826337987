"""The first pass over a shard: what one document alone decides."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
from datatrove.pipeline.base import PipelineStep

from aurora_release.data.clean import work
from aurora_release.data.clean.blocked import Blocked
from aurora_release.data.clean.language import other_language
from aurora_release.data.clean.mask import mask
from aurora_release.data.clean.normalise import normalise
from aurora_release.data.clean.quality import fault
from aurora_release.data.clean.work import Work, place, removal, whole
from aurora_release.data.documents import Document
from aurora_release.data.sources import read
from aurora_release.evidence import canonical
from aurora_release.recipe import Clean, Source
from aurora_release.shipped import resolve
from aurora_release.split import held_out

DIGEST = np.dtype([("digest", "<u8"), ("place", "<u8")])


class Sift(PipelineStep):  # type: ignore[misc]
    """Reads a shard; writes what is kept, held out and removed, and the digest of each text."""

    type, name = "clean", "sift"

    def __init__(self, plan: Work) -> None:
        super().__init__()
        self._work = plan

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        """Sift shard number `rank`."""
        plan, source = self._work, self._work.source(rank)
        judge = Judge(source, plan)
        share = plan.data.heldout if source.heldout is None else source.heldout
        counts: Counter[str] = Counter()
        digests = array("Q")
        offsets = {"kept": array("Q"), "held": array("Q")}
        with ExitStack() as stack:
            files = {
                kind: stack.enter_context(whole(plan.path(kind, rank)))
                for kind in ("kept", "held", "sifted-out")
            }
            for document in read(source, plan.shards[rank], plan.beside):
                counts["read"] += 1
                document = replace(document, text=normalise(document.text))
                if found := judge.removal(document):
                    files["sifted-out"].write(removal(document.id, *found))
                    continue
                document, masked = judge.masked(document)
                kind = "held" if held_out(document.group, share) else "kept"
                at = place(kind == "kept", rank, len(offsets[kind]))
                digests.extend((_digest(document), at))
                offsets[kind].append(files[kind].tell())
                files[kind].write(work.pack(document, masked))
        for kind, found_at in offsets.items():
            work.save(plan.path(f"{kind}-offsets", rank), np.array(found_at, np.uint64))
        work.save(plan.path("digests", rank), np.sort(np.frombuffer(digests, DIGEST)))
        with whole(plan.path("sifted", rank)) as file:
            file.write(canonical(counts))


class Judge:
    """What is dropped from a source and what is hidden in it, document by document."""

    def __init__(self, source: Source, plan: Work) -> None:
        self._source = source
        self._rules: Clean = plan.data.clean
        lists = [resolve(path, plan.beside) for path in self._rules.blocked_words]
        self._blocked = Blocked.load(lists) if lists else None

    def removal(self, document: Document) -> tuple[str, str] | None:
        """Return why a document goes, and in what measure; None where it stays.

        Pairs are reviewed one by one, so only their repetitions go.
        """
        rules, source, text = self._rules, self._source, document.text
        if document.prompt is not None:
            return None
        if len(text) < rules.min_characters:
            return "short", f"{len(text)} characters"
        if rules.language and source.language != "code":
            other = other_language(text, source.language, rules.language)
            if other:
                return f"language: {other[0]}", f"{other[1]:.3f}"
        if rules.quality and (found := fault(text, source.language)):
            return f"quality: {found[0]}", f"{found[1]:.3g}"
        if self._blocked and (share := self._blocked.share(text)) > rules.blocked_share:
            return "blocked words", f"{share:.3g}"
        return None

    def masked(self, document: Document) -> tuple[Document, dict[str, int]]:
        """Return a document with what must not be learnt hidden, and how often by kind."""
        if document.prompt is not None:
            return document, {}
        rules = self._rules
        text, counts = mask(document.text, rules.pii == "mask", rules.secrets == "mask")
        return replace(document, text=text), counts


def _digest(document: Document) -> int:
    content = f"{document.prompt}\0{document.text}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def documents(plan: Work, rank: int, kind: str) -> Iterator[Document]:
    """Yield the kept or held documents of a shard."""
    for document, _ in work.unpack(plan.path(kind, rank)):
        yield document
