"""Validation while training runs: bits per byte of fixed texts, compared with the base model."""

import json
import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch

from aurora_release import atomic
from aurora_release.data.documents import HELDOUT
from aurora_release.errors import AuroraError
from aurora_release.evaluate.bits import bits_per_byte, read_texts, take
from aurora_release.evaluate.compare import Documents, paired_change
from aurora_release.evaluate.load import LoadedModel, load
from aurora_release.evidence import canonical, sha256
from aurora_release.run import Job
from aurora_release.shipped import resolve
from aurora_release.train.engine import rank, world_size

log = logging.getLogger(__name__)

VALIDATION = "validation.jsonl"
BASELINE = "baseline.json"
_BATCH_TOKENS = 2048

Measured = dict[str, Any]
"""One line of the file: step, mean over sets, value, change and interval of each, breaches."""


class Validation:
    """What was measured so far in one stage, and how to measure more."""

    def __init__(self, job: Job, source: Path, engine: Any) -> None:
        """Take the fixed texts of the recipe; `source` is the model that the stage starts from.

        Raises:
            AuroraError: a file of `train.watch.sets` has no texts.
        """
        from transformers import AutoTokenizer

        self.job = job
        self.source = source
        self.engine = engine
        self.texts = fixed_texts(job)
        self.model = LoadedModel(
            cast(Any, _Forward(engine)), AutoTokenizer.from_pretrained(source), None
        )
        self.history: list[Measured] = []
        self.base: dict[str, Documents] = {}

    def resume(self, step: int) -> None:
        """Keep the measurements up to `step`; later ones are made again."""
        path = self.job.folder / VALIDATION
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = [{"breaches": [], **json.loads(line)} for line in lines]
        self.history = _from_rank_0([line for line in found if line["step"] <= step])
        self._write()

    def at(self, step: int) -> Measured:
        """Return what is measured after `step` steps; measure it if it has not been."""
        if self.history and self.history[-1]["step"] == step:
            return self.history[-1]
        began = time.perf_counter()
        documents = self._score(self.model, shared=self.engine.zero_optimization_stage() < 3)
        self.base = self.base or self._baseline(step, documents)
        sets = {name: self._row(name, found) for name, found in documents.items()}
        mean = statistics.fmean(row["bits_per_byte"] for row in sets.values())
        self.history.append({
            "step": step, "bits_per_byte": mean, "sets": sets, "breaches": [],
            "seconds": round(time.perf_counter() - began, 2),
        })  # fmt: skip
        self._write()
        log.info("%-14s %s", self.job.folder.name.removesuffix(".partial"), told(self.history[-1]))
        return self.history[-1]

    def note(self, breaches: list[dict[str, Any]]) -> None:
        """Keep what the last measurement broke beside it, whatever floors come later."""
        kept = self.history[-1]["breaches"]
        new = [breach for breach in breaches if breach not in kept]
        if new:
            kept += new
            self._write()

    def _score(self, model: LoadedModel, shared: bool) -> dict[str, Documents]:
        """Return the bits and bytes of every document; `shared` spreads them over the ranks."""
        ranks, mine = (world_size(), rank()) if shared else (1, 0)
        training = self.engine.module.training
        self.engine.module.eval()
        try:
            with _eager(self.job.recipe.train.compile):
                parts = {name: self._bits(model, texts[mine::ranks])
                         for name, texts in self.texts.items()}  # fmt: skip
        finally:
            self.engine.module.train(training)
        return {name: _joined(found, ranks) for name, found in _from_all(parts, ranks).items()}

    def _bits(self, model: LoadedModel, texts: Sequence[str]) -> Documents:
        if not texts:
            return []
        found = bits_per_byte(
            model, texts, context=self.job.recipe.evaluate.context, batch_tokens=_BATCH_TOKENS
        )
        bits = (round(each, 2) for each in found.document_bits)
        return list(zip(bits, found.document_bytes, strict=True))

    def _row(self, name: str, documents: Documents) -> dict[str, Any]:
        change, low, high = paired_change(self.base[name], documents, self.job.recipe.seed)
        bits, size = (sum(part) for part in zip(*documents, strict=True))
        return {
            "bits_per_byte": bits / size, "change": change, "interval": [low, high],
            "documents": documents,
        }  # fmt: skip

    def _baseline(self, step: int, documents: dict[str, Documents]) -> dict[str, Documents]:
        """Return what the base model needs, and keep it in the stage's folder.

        It is what the first stage measures before its first step, handed on from stage to stage;
        measured again from the base model's own folder only where the texts were changed since.
        """
        digest = sha256(canonical(self.texts))
        first = self.source == self.job.before["base"] and step == 0
        base = documents if first else _from_rank_0(self._handed_on(digest))
        if base is None:
            log.info("%-14s base model is measured on texts that are new", "")
            shared = _from_rank_0(
                self._score(load(self.job.before["base"]), shared=False) if rank() == 0 else None
            )
            base = shared
        if rank() == 0:
            content = canonical({"texts": digest, "sets": base})
            atomic.write_bytes(self.job.folder / BASELINE, content + b"\n")
        return {name: [(bits, size) for bits, size in found] for name, found in base.items()}

    def _handed_on(self, digest: str) -> dict[str, Any] | None:
        """Return the base model's values from this stage's folder or the one before it."""
        for path in (self.job.folder / BASELINE, self.source / BASELINE):
            if path.is_file():
                found = json.loads(path.read_bytes())
                if found["texts"] == digest:
                    return dict(found["sets"])
        return None

    def _write(self) -> None:
        if rank() == 0:
            lines = "".join(json.dumps(line) + "\n" for line in self.history)
            atomic.write_text(self.job.folder / VALIDATION, lines)


def fixed_texts(job: Job) -> dict[str, list[str]]:
    """Return the texts that are scored, by source or set: the same in every stage.

    Raises:
        AuroraError: a file of `train.watch.sets` has no texts.
    """
    watch = job.recipe.train.watch
    heldout = job.before["clean"] / HELDOUT
    files = {source.name: heldout / f"{source.name}.jsonl"
             for source in job.recipe.data.sources if source.kind == "text"}  # fmt: skip
    files |= {name: resolve(path, job.beside) for name, path in watch.sets.items()}
    found = {name: take(read_texts(path), watch.bytes_per_source) for name, path in files.items()}
    for name in watch.sets:
        if not found[name]:
            raise AuroraError(f"{files[name]} (train.watch.sets.{name}) holds no text.")
    return {name: texts for name, texts in found.items() if texts}


def told(measured: Measured) -> str:
    """Return one line: each set's bits per byte, its change and half its interval's width."""
    parts = []
    for name, row in measured["sets"].items():
        low, high = row["interval"]
        half = max(high - row["change"], row["change"] - low)
        parts.append(
            f"{name} {row['bits_per_byte']:.3f} {100 * row['change']:+.1f} ±{100 * half:.1f} %"
        )
    return f"validation at step {measured['step']}: {'  '.join(parts)}"


class _Forward:
    """The part of a transformers model that scoring uses, run through the engine.

    The engine brings its autocast and, in ZeRO 3, gathers the weights.
    """

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.config = engine.module.config
        self.device = engine.device

    def __call__(self, **inputs: Any) -> Any:
        return self.engine(**inputs)


def _eager(compiled: bool) -> AbstractContextManager[Any]:
    """Return a context in which nothing is compiled anew for every length of a text."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def _joined(parts: list[Documents], ranks: int) -> Documents:
    """Return documents in their own order: number n was scored by rank n modulo `ranks`."""
    found: list[tuple[float, int]] = [(0.0, 0)] * sum(map(len, parts))
    for mine, part in enumerate(parts):
        found[mine::ranks] = part
    return found


def _from_all(parts: Mapping[str, Documents], ranks: int) -> dict[str, list[Documents]]:
    """Return every rank's part of every set."""
    everyone: list[Any] = [parts]
    if ranks > 1:
        everyone = [None] * ranks
        torch.distributed.all_gather_object(everyone, parts)
    return {name: [each[name] for each in everyone] for name in parts}


def _from_rank_0(value: Any) -> Any:
    """Return rank 0's value on every rank."""
    box = [value]
    if world_size() > 1:
        torch.distributed.broadcast_object_list(box)
    return box[0]
