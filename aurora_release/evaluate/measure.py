"""Measures one model on evaluation sets, a file a set: what is measured already stays."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aurora_release import atomic, evidence
from aurora_release.environment import environment
from aurora_release.errors import AuroraError
from aurora_release.evaluate import sandbox
from aurora_release.evaluate.bits import Bits, bits_per_byte
from aurora_release.evaluate.choice import answer
from aurora_release.evaluate.code import pass_at_k, solve
from aurora_release.evaluate.generate import Model, Sampling
from aurora_release.evaluate.sets import EvalSet, Kind, Row
from aurora_release.evaluate.subject import Subject
from aurora_release.evaluate.written import reply

log = logging.getLogger(__name__)

_PART: dict[Kind, str] = {
    "text": "bits_per_byte",
    "choice": "choice",
    "answer": "written",
    "infill": "code",
    "code": "code",
}
"""Where a set of each kind stands in what is measured."""
_NO_MARKS = (
    "Its tokenizer has no <fim_prefix>, <fim_suffix> and <fim_middle>, so it cannot be asked what "
    "is missing between two pieces of code."
)
_TOGETHER = 64
"""Items that are scored between two looks at the progress bar."""
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Settings:
    """How is measured."""

    context: int = 1024
    """Tokens the model sees at most when text is scored."""
    batch_tokens: int = 2048
    """Tokens of one forward pass; they do not change the result."""
    exact: bool = False
    """Compute in float32."""
    sampling: Sampling = field(default_factory=Sampling)
    limits: sandbox.Limits = field(default_factory=sandbox.Limits)

    def deciding(self, kind: Kind) -> dict[str, Any]:
        """Return what decides the result of a set of this kind."""
        if kind in ("code", "infill"):
            return {"exact": self.exact, **asdict(self.sampling), **asdict(self.limits)}
        if kind == "answer":
            return {"exact": self.exact, "max_new_tokens": self.sampling.max_new_tokens}
        return {"exact": self.exact, "context": self.context}


def measure(
    subject: Subject, sets: Sequence[EvalSet], settings: Settings, folder: Path
) -> dict[str, Any]:
    """Return what is measured of a model, and keep it in `folder` as evidence.

    A set that was measured before, with the same weights, files beside them, items, settings and
    code, is not measured again; the model is opened only where something is left to do. Sets that
    the model cannot do are left out, and named.

    Raises:
        AuroraError: the model cannot be read or asked, or can do none of the sets, or there is no
            sandbox for code.
    """
    left_out = (
        {} if subject.infills else {each.name: _NO_MARKS for each in sets if each.kind == "infill"}
    )
    for name, why in left_out.items():
        log.warning("%-14s %s: left out. %s", subject.name, name, why)
    if len(left_out) == len(sets):
        raise AuroraError(f"{subject.name} can do none of the sets. {_NO_MARKS}")
    sets = [each for each in sets if each.name not in left_out]
    if any(_PART[each.kind] == "code" for each in sets):
        sandbox.check()
    began = time.time()
    folder.mkdir(parents=True, exist_ok=True)
    model: Model | None = None
    rows: dict[str, Row] = {}
    for each in sets:
        path, key = folder / f"{each.name}.json", _key(subject, each, settings)
        known = _known(path, key)
        if known is None:
            model = model or subject.open()
            known = _MEASURES[each.kind](model, each, settings, folder)
            atomic.write_bytes(path, evidence.canonical({"key": key, "row": known}) + b"\n")
        else:
            log.info("%-14s %s: measured before", subject.name, each.name)
        rows[each.name] = known
        log.info("%-14s %s: %s", subject.name, each.name, said(each.kind, known))
    measured = {**_together(subject, sets, rows), "left_out": left_out}
    _evidence(folder, sets, settings, measured, time.time() - began)
    return measured


def said(kind: Kind, row: Row) -> str:
    """Return the result of a set in a few words."""
    if kind == "text":
        return f"{row['bits_per_byte']:.3f} bits per byte"
    if kind == "choice":
        return f"{100 * row['accuracy']:.1f} % right, chance {100 * row['chance']:.1f} %"
    if kind == "answer":
        return f"{100 * row['exact']:.1f} % exact, F1 {100 * row['f1']:.1f} %"
    return ", ".join(f"{key} {100 * value:.1f} %" for key, value in row["pass"].items())


def _key(subject: Subject, each: EvalSet, settings: Settings) -> dict[str, Any]:
    """Return everything that decides a result; without the weights' digest it equals no other."""
    here = Path(__file__).parent
    return {
        "model": subject.sha256 or f"unknown, {time.time_ns()}",
        "beside": subject.beside,
        "template": subject.template,
        "set": each.sha256,
        "settings": settings.deciding(each.kind),
        "code": evidence.sha256(evidence.canonical(evidence.digests_of_code(here))),
    }


def _known(path: Path, key: dict[str, Any]) -> Row | None:
    """Return the row in a file that was made from `key`."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    row: Row | None = content["row"] if content.get("key") == evidence.plain(key) else None
    return row


def _together(subject: Subject, sets: Sequence[EvalSet], rows: dict[str, Row]) -> dict[str, Any]:
    parts: dict[str, dict[str, Row]] = {part: {} for part in _PART.values()}
    for each in sets:
        parts[_PART[each.kind]][each.name] = rows[each.name]
    model = {"stage": subject.name, "role": "evaluated", "sha256": subject.sha256}
    return {"model": model, "template": subject.template, "beside": subject.beside, **parts}


def _evidence(
    folder: Path, sets: Sequence[EvalSet], settings: Settings, measured: Any, seconds: float
) -> None:
    predicate = {
        "stage": "evaluate",
        "recipe": asdict(settings),
        "inputs": {each.name: each.sha256 for each in sets},
        "previous": {},
        "environment": environment(),
        "measured": measured,
        "seconds": seconds,
    }
    files = {path.name: evidence.sha256_file(path) for path in sorted(folder.glob("*.json*"))}
    files.pop(evidence.FILE, None)
    evidence.write(folder, evidence.statement(files, predicate))


def _text(model: Model, each: EvalSet, settings: Settings, folder: Path) -> Row:
    def score(rows: Sequence[Row]) -> list[Bits]:
        texts = [row["text"] for row in rows]
        how = {"context": settings.context, "batch_tokens": settings.batch_tokens}
        return [bits_per_byte(model, texts, **how)]

    parts = list(_watched(each, score))
    whole = Bits(
        tuple(bits for part in parts for bits in part.document_bits),
        tuple(size for part in parts for size in part.document_bytes),
        sum(part.tokens for part in parts),
    )
    return whole.row(each.language, each.sha256)


def _choice(model: Model, each: EvalSet, settings: Settings, folder: Path) -> Row:
    how = {"context": settings.context, "batch_tokens": settings.batch_tokens}
    found = list(_watched(each, lambda rows: answer(model, rows, **how)))
    items = len(found)
    return {
        "language": each.language,
        "items": items,
        "accuracy": sum(item.right for item in found) / items,
        "accuracy_norm": sum(item.right_norm for item in found) / items,
        # a single choice is not guessed
        "chance": sum(1 / len(item.bits) for item in found if len(item.bits) > 1) / items,
        "sha256": each.sha256,
        "per_item": {
            "right": [int(item.right) for item in found],
            "right_norm": [int(item.right_norm) for item in found],
            "bits": [[round(bits, 3) for bits in item.bits] for item in found],
        },
    }


def _written(model: Model, each: EvalSet, settings: Settings, folder: Path) -> Row:
    found = list(_watched(each, lambda rows: reply(model, rows, settings.sampling), 1))
    return {
        "language": each.language,
        "items": len(found),
        "exact": sum(item.exact for item in found) / len(found),
        "f1": sum(item.f1 for item in found) / len(found),
        "sha256": each.sha256,
        "per_item": {
            "exact": [int(item.exact) for item in found],
            "f1": [item.f1 for item in found],
            "text": [item.text for item in found],
        },
    }


def _code(model: Model, each: EvalSet, settings: Settings, folder: Path) -> Row:
    how = settings.sampling
    found = list(_watched(each, lambda rows: solve(model, rows, how, settings.limits), 1))
    lines = [
        evidence.canonical({"id": str(row.get("id", place)), "completions": item.completions,
                            "outcomes": item.outcomes}) + b"\n"
        for place, (row, item) in enumerate(zip(each.rows, found, strict=True))
    ]  # fmt: skip
    atomic.write_bytes(folder / f"{each.name}.programs.jsonl", b"".join(lines))
    return {
        "language": each.language,
        "items": len(found),
        "samples": how.samples,
        "pass": {
            f"pass@{k}": sum(pass_at_k(how.samples, item.passed, k) for item in found) / len(found)
            for k in (1, 10, 100)
            if k <= how.samples
        },
        "sha256": each.sha256,
        "per_item": {
            "passed": [item.passed for item in found],
            "timed_out": [item.outcomes.count("timed out") for item in found],
        },
    }


_MEASURES: dict[Kind, Callable[[Model, EvalSet, Settings, Path], Row]] = {
    "text": _text,
    "choice": _choice,
    "answer": _written,
    "infill": _code,
    "code": _code,
}


def _watched(
    each: EvalSet, work: Callable[[Sequence[Row]], Iterable[_Item]], together: int = _TOGETHER
) -> Iterator[_Item]:
    """Yield the results of `work` on a few items at a time, a progress bar beside it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(each.name, total=len(each.rows))
        for start in range(0, len(each.rows), together):
            rows = each.rows[start : start + together]
            yield from work(rows)
            bar.advance(task, len(rows))
