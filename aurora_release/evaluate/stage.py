"""The evaluate stage: everything that is measured of one model."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aurora_release import evidence
from aurora_release.evaluate.bits import bits_per_byte, read_texts, take
from aurora_release.evaluate.load import LoadedModel, load
from aurora_release.evaluate.redteam import evaluation, wrappers
from aurora_release.evaluate.redteam.evasions import count_blocks
from aurora_release.evaluate.redteam.models import LocalModel, weights
from aurora_release.evaluate.redteam.requests import RequestSet, of_heldout
from aurora_release.evaluate.redteam.steps import REPLIES
from aurora_release.recipe import Recipe
from aurora_release.run import Job
from aurora_release.shipped import resolve

log = logging.getLogger(__name__)

_BATCH_TOKENS = 2048


def evaluate(job: Job, of: str) -> dict[str, Any]:
    """Return what was measured of the model that stage `of` made, and keep its replies.

    Raises:
        AuroraError: the model cannot be read, or has no chat template.
    """
    from aurora_release.safety.guard import Guard

    seconds: dict[str, float] = {}
    with _timed(seconds, "load"):
        loaded = load(job.before[of], unpacked=True)
    heldout = job.before["clean"] / "heldout"
    with _timed(seconds, "bits"):
        bits = _bits(job.recipe, heldout, loaded)
    sets = _sets(job.recipe, heldout)
    digest = weights(job.before[of])
    guard = Guard.load(resolve(job.recipe.policy, job.beside))
    attacks = wrappers.load(job.recipe.evaluate.wrappers)
    with _timed(seconds, "safety"):
        model = LocalModel(loaded, digest, job.recipe.evaluate.max_new_tokens)
        safety = evaluation.evaluate(model, sets, attacks, guard, job.folder / REPLIES)
    with _timed(seconds, "filter"):
        asked = [request for found in sets for request in found.requests]
        blocks = count_blocks(wrappers.apply(asked, ()).asked, guard)
    return {
        "model": {"stage": of, "role": role(job.recipe, of), "sha256": digest},
        "template": loaded.template_digest,
        "bits_per_byte": bits,
        "safety": safety,
        "filter": blocks.get(wrappers.PLAIN, {}),
        "seconds": seconds,
    }


def role(recipe: Recipe, of: str) -> str:
    """Return what a stage's model is in a run: base, trained, final (the last trained), variant."""
    if of == recipe.final:
        return "final"
    if of in recipe.trained:
        return "trained"
    return "base" if of == "base" else "variant"


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
            digest = evidence.sha256(evidence.canonical(texts))
            rows[source.name] = found.row(source.language, digest)
            log.info("%-14s %s: %.3f bits per byte", "", source.name, found.bits_per_byte)
    return rows


def _sets(recipe: Recipe, heldout: Path) -> list[RequestSet]:
    """Return the held-out requests of every source of pairs."""
    return [
        of_heldout(heldout / f"{source.name}.jsonl")
        for source in recipe.data.sources
        if source.kind == "pairs"
    ]


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Note how long a part took."""
    began = time.perf_counter()
    yield
    seconds[part] = round(time.perf_counter() - began, 2)
