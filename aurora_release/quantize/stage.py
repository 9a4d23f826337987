"""The quantize stages: one variant of the trained model, with its certificate."""

import json
import logging
import time
from pathlib import Path
from typing import Any

from aurora_release.quantize.apart import apart
from aurora_release.quantize.calibrate import calibration
from aurora_release.quantize.certificate import certificate, weights
from aurora_release.quantize.gguf import gguf
from aurora_release.quantize.gptq import check_group_size, gptq
from aurora_release.quantize.nf4 import nf4
from aurora_release.recipe import Gguf, Gptq, Nf4
from aurora_release.run import Job

log = logging.getLogger(__name__)

_CHARACTERS = 200


def quantize(job: Job, variant: Nf4 | Gptq | Gguf) -> dict[str, Any]:
    """Write one variant of the final model and return its measurements.

    Raises:
        AuroraError: the model or its tokenizer does not fit the method, before any work.
    """
    source = job.before[job.recipe.final]
    began = time.monotonic()
    peak, used = _make(job, variant, source)
    seconds = time.monotonic() - began
    size = sum((job.folder / name).stat().st_size for name in weights(job.folder))
    log.info(
        "%-14s %.0f MB in %.0f s; comparing with the source", variant.name, size / 1e6, seconds
    )
    return {
        **variant.model_dump(mode="json"),
        "bytes": size,
        "source_bytes": sum((source / name).stat().st_size for name in weights(source)),
        "seconds": seconds,
        "peak_memory_bytes": peak,
        "calibration": used,
        "certificate": certificate(source, job.folder, certificate_texts(job.before["clean"])),
    }


def certificate_texts(clean: Path) -> list[str]:
    """Return the beginning of the first held-out document of each source of text."""
    texts = []
    for path in sorted((clean / "heldout").glob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            document = json.loads(file.readline() or "{}")
        if "text" in document:
            texts.append(document["text"][:_CHARACTERS])
    return texts


def _make(
    job: Job, variant: Nf4 | Gptq | Gguf, source: Path
) -> tuple[int | None, dict[str, Any] | None]:
    """Write the variant; return the peak memory and what it was calibrated on."""
    if isinstance(variant, Gguf):
        return apart(gguf, source, job.folder, type=variant.type), None
    if isinstance(variant, Nf4):
        return apart(nf4, source, job.folder), None
    check_group_size(source, variant.group_size)
    used = calibration(job.before["data"], job.recipe, variant.samples)
    peak = apart(
        gptq,
        source,
        job.folder,
        bits=variant.bits,
        group_size=variant.group_size,
        samples=used.samples,
    )
    return peak, used.evidence()
