"""The evaluate stage: everything that is measured of one model."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aurora_release import atomic, evidence
from aurora_release.evaluate.behaviour import (
    Prompt,
    count_blocks,
    count_refusals,
    read_prompts,
    replies,
)
from aurora_release.evaluate.bits import Bits, bits_per_byte, read_texts, take
from aurora_release.evaluate.load import LoadedModel, load
from aurora_release.recipe import Recipe, Source
from aurora_release.run import Job
from aurora_release.shipped import resolve

log = logging.getLogger(__name__)

REPLIES = "replies.jsonl"
_BATCH_TOKENS = 2048


def evaluate(job: Job, of: str) -> dict[str, Any]:
    """Return what was measured of the model that stage `of` made, and keep its replies.

    Raises:
        AuroraError: the model cannot be read, or has no chat template.
    """
    from aurora_release.safety.guard import Guard

    seconds: dict[str, float] = {}
    with _timed(seconds, "load"):
        loaded = load(job.before[of])
    heldout = job.before["clean"] / "heldout"
    with _timed(seconds, "bits"):
        bits = _bits(job.recipe, heldout, loaded)
    prompts = _prompts(job.recipe, heldout)
    with _timed(seconds, "safety"):
        answers = replies(
            loaded,
            [prompt.prompt for prompt in prompts],
            max_new_tokens=job.recipe.evaluate.max_new_tokens,
        )
        _keep(job.folder / REPLIES, prompts, answers)
    with _timed(seconds, "filter"):
        blocks = count_blocks(prompts, Guard.load(resolve(job.recipe.policy, job.beside)))
    return {
        "model": {"stage": of, "role": role(job.recipe, of), "sha256": weights(job.before[of])},
        "template": loaded.template_digest,
        "bits_per_byte": bits,
        "safety": count_refusals(prompts, answers),
        "filter": blocks,
        "seconds": seconds,
    }


def role(recipe: Recipe, of: str) -> str:
    """Return what a stage's model is in a run: base, trained, final (the last trained), variant."""
    if of == recipe.final:
        return "final"
    if of in recipe.trained:
        return "trained"
    return "base" if of == "base" else "variant"


def weights(folder: Path) -> str:
    """Return the SHA-256 of a model's weights: of the file, or of {name: SHA-256} where many."""
    found = {
        path.name: evidence.sha256_file(path)
        for path in folder.iterdir()
        if path.suffix in {".safetensors", ".gguf"}
    }
    return (
        next(iter(found.values()))
        if len(found) == 1
        else evidence.sha256(evidence.canonical(found))
    )


def _bits(recipe: Recipe, heldout: Path, loaded: LoadedModel) -> dict[str, Any]:
    """Return the measured row of every source of text that holds something out."""
    rows = {}
    for source in recipe.data.sources:
        if source.kind != "text":
            continue
        texts = take(read_texts(heldout / f"{source.name}.jsonl"), recipe.evaluate.bytes_per_source)
        if texts:
            found = bits_per_byte(
                loaded, texts, context=recipe.evaluate.context, batch_tokens=_BATCH_TOKENS
            )
            rows[source.name] = _row(source, texts, found)
            log.info("%-14s %s: %.3f bits per byte", "", source.name, found.bits_per_byte)
    return rows


def _row(source: Source, texts: list[str], found: Bits) -> dict[str, Any]:
    return {
        "language": source.language,
        "bits_per_byte": found.bits_per_byte,
        "bytes": found.bytes,
        "tokens": found.tokens,
        "documents": found.documents,
        "sha256": evidence.sha256(evidence.canonical(texts)),
        "per_document": {
            "bits": [round(bits, 2) for bits in found.document_bits],
            "bytes": list(found.document_bytes),
        },
    }


def _prompts(recipe: Recipe, heldout: Path) -> list[Prompt]:
    """Return the held-out requests of all sources of pairs."""
    return [
        prompt
        for source in recipe.data.sources
        if source.kind == "pairs"
        for prompt in read_prompts(heldout / f"{source.name}.jsonl")
    ]


def _keep(path: Path, prompts: list[Prompt], answers: list[str]) -> None:
    """Write every request with its reply, so that the counts can be checked by eye."""
    lines = (
        evidence.canonical(
            {"id": prompt.id, "kind": prompt.kind, "language": prompt.language,
             "prompt": prompt.prompt, "reply": answer}
        )
        for prompt, answer in zip(prompts, answers, strict=True)
    )  # fmt: skip
    atomic.write_bytes(path, b"".join(line + b"\n" for line in lines))


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Note how long a part took."""
    began = time.perf_counter()
    yield
    seconds[part] = round(time.perf_counter() - began, 2)
