"""The last pass over a shard: what the other documents decide, and the files that stay."""

from collections import Counter
from typing import Any

from datatrove.pipeline.base import PipelineStep

from aurora_release.data.clean import work
from aurora_release.data.clean.contamination import Contamination
from aurora_release.data.clean.repeats import repeated
from aurora_release.data.clean.work import Work, place, removal, whole
from aurora_release.data.documents import Document, held_out_line, line
from aurora_release.evidence import canonical

Counts = dict[str, Counter[str]]


class Finish(PipelineStep):  # type: ignore[misc]
    """Writes the text of a shard, its held-out documents, what was removed, and counts."""

    type, name = "clean", "finish"

    def __init__(self, plan: Work) -> None:
        super().__init__()
        self._work = plan

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        """Finish shard number `rank`."""
        plan = self._work
        counts: Counts = {"documents": Counter(), "masked": Counter()}
        with whole(plan.path("removed", rank)) as removed:
            with plan.path("sifted-out", rank).open("rb") as file:
                for row in file:
                    removed.write(row)
            for kind, out in (("held", "heldout"), ("kept", "text")):
                with whole(plan.path(out, rank)) as file:
                    self._kind(rank, kind, file, removed, counts)
        with whole(plan.path("counts", rank)) as file:
            file.write(canonical(counts))

    def _kind(self, rank: int, kind: str, file: Any, removed: Any, counts: Counts) -> None:
        judge = _Judge(self._work, rank, kind)
        write = line if kind == "kept" else held_out_line
        for number, (document, masked) in enumerate(work.unpack(self._work.path(kind, rank))):
            if found := judge.removal(number, document):
                removed.write(removal(document.id, *found))
                continue
            file.write(write(document))
            counts["documents"]["kept" if kind == "kept" else "heldout"] += 1
            counts["documents"]["characters"] += len(document.text) if kind == "kept" else 0
            counts["masked"].update(masked)


class _Judge:
    """Why documents of one kind go from a shard, now that all others are known."""

    def __init__(self, plan: Work, rank: int, kind: str) -> None:
        self._work, self._rank, self._kept = plan, rank, kind == "kept"
        self._repeated = {
            reason: repeated(plan, found, rank)
            for reason, found in (("repeated", "repeated"), ("near duplicate", "near"))
        }
        self._size = plan.data.clean.decontaminate
        self._contamination = Contamination(plan) if self._kept and self._size else None

    def removal(self, number: int, document: Document) -> tuple[str, str] | None:
        """Return why document `number` goes, and what it repeats; None where it stays."""
        at = place(self._kept, self._rank, number)
        for reason, found in self._repeated.items():
            if at in found:
                return reason, self._work.identity(found[at])
        if self._contamination and self._size:
            language = self._work.source(self._rank).language
            if hit := self._contamination.find(document, language, self._size):
                return f"contaminated: {hit[0]}", f"{hit[1]:.3g}"
        return None
