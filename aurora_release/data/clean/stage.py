"""The clean stage: held-out split, cleaning, and the counts that describe both."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

from aurora_release import atomic
from aurora_release.data.clean.normalise import clean as cleaned
from aurora_release.data.documents import HELDOUT, REMOVED, REPORT, TEXT, held_out_line, line
from aurora_release.data.sources import read
from aurora_release.errors import AuroraError
from aurora_release.evidence import canonical
from aurora_release.recipe import Source
from aurora_release.run import Job
from aurora_release.safety import ledger
from aurora_release.shipped import resolve
from aurora_release.split import held_out

log = logging.getLogger(__name__)


def clean(job: Job) -> dict[str, Any]:
    """Write the kept, held-out and removed documents of every source; return counts by source."""
    for name in (TEXT, HELDOUT, REMOVED):
        (job.folder / name).mkdir(exist_ok=True)
    report = {"sources": {source.name: _source(job, source) for source in job.recipe.data.sources}}
    atomic.write_bytes(job.folder / REPORT, canonical(report) + b"\n")
    return report


def _source(job: Job, source: Source) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    removed: list[tuple[str, str, str]] = []
    share = job.recipe.data.heldout if source.heldout is None else source.heldout
    (job.folder / TEXT / source.name).mkdir()
    with (
        (job.folder / TEXT / source.name / "00000.jsonl").open("wb") as text,
        (job.folder / HELDOUT / f"{source.name}.jsonl").open("wb") as heldout,
    ):
        documents = read(source, job.beside)
        for document in cleaned(documents, job.recipe.data.clean.min_characters, counts, removed):
            out = held_out(document.group, share)
            counts["heldout" if out else "kept"] += 1
            (heldout if out else text).write((held_out_line if out else line)(document))
    _write_removed(job.folder / REMOVED / f"{source.name}.jsonl", removed)
    reasons = Counter(reason for _, reason, _ in removed)
    require(source, counts, reasons, "kept", "training")
    if share:
        require(source, counts, reasons, "heldout", "held-out")
    log.info(
        "clean          %-18s %5d kept, %4d held out, %4d removed",
        source.name, counts["kept"], counts["heldout"], len(removed),
    )  # fmt: skip
    return {
        "language": source.language,
        "license": source.license,
        "kind": source.kind,
        "read": counts["read"],
        "kept": counts["kept"],
        "heldout": counts["heldout"],
        "removed": dict(reasons),
        "masked": {},
        **_ledger(job, source),
    }


def _write_removed(path: Path, removed: list[tuple[str, str, str]]) -> None:
    lines = [
        canonical({"id": identity, "reason": reason, "detail": detail}) + b"\n"
        for identity, reason, detail in removed
    ]
    atomic.write_bytes(path, b"".join(lines))


def _ledger(job: Job, source: Source) -> dict[str, Any]:
    """Return who wrote and reviewed the pairs of a source."""
    if source.kind != "pairs":
        return {}
    return {"ledger": ledger.stats(ledger.read(resolve(source.path, job.beside)))}


def require(
    source: Source, counts: Counter[str], reasons: Counter[str], key: str, what: str
) -> None:
    """Refuse a source that has no documents left of one kind, saying where they went."""
    if not counts[key]:
        gone = "".join(f", {number} {reason}" for reason, number in sorted(reasons.items()))
        raise AuroraError(
            f"data.sources.{source.name} has no {what} documents (language {source.language}, "
            f"{counts['read']} read{gone}). "
            "Give it more text, relax data.clean or change data.heldout."
        )
