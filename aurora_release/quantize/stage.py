"""The quantize stages: one variant of the trained model, with its certificate."""

import logging
import time
from pathlib import Path
from typing import Any

from aurora_release.quantize.calibrate import Calibration, calibration, languages
from aurora_release.quantize.certificate import certificate, weights
from aurora_release.quantize.gguf import FILE, types
from aurora_release.quantize.make import Variant, calibrated, check, make
from aurora_release.quantize.parity import read_domains
from aurora_release.recipe import Gguf, Int8, Nf4
from aurora_release.run import Job

log = logging.getLogger(__name__)


def quantize(job: Job, variant: Variant) -> dict[str, Any]:
    """Write one variant of the final model and return its measurements.

    Raises:
        AuroraError: the model or its tokenizer does not fit the method, before any work.
    """
    source = job.before[job.recipe.final]
    check(source, variant)
    used = _calibration(job, variant)
    return measure(source, job.folder, variant, used, read_domains(job.before["clean"] / "heldout"))


def measure(
    source: Path,
    out: Path,
    variant: Variant,
    used: Calibration | None,
    domains: dict[str, list[str]],
) -> dict[str, Any]:
    """Write a variant to `out` and return its size, time, memory, calibration and certificate."""
    began = time.monotonic()
    peak = make(source, out, variant, used)
    seconds = time.monotonic() - began
    size = sum((out / name).stat().st_size for name in weights(out))
    log.info(
        "%-14s %.0f MB in %.0f s; comparing with the source", variant.name, size / 1e6, seconds
    )
    return {
        **variant.model_dump(mode="json"),
        "bytes": size,
        "source_bytes": sum((source / name).stat().st_size for name in weights(source)),
        "seconds": seconds,
        "peak_memory_bytes": peak,
        "calibration": used.evidence() if used else None,
        **({"types": types(out / FILE)} if isinstance(variant, Gguf) else {}),
        "certificate": certificate(source, out, domains),
    }


def _calibration(job: Job, variant: Variant) -> Calibration | None:
    """Return the part of the last stage's mixture that a variant is calibrated on."""
    if not calibrated(variant):
        return None
    assert not isinstance(variant, (Nf4, Int8))
    used = calibration(job.before["data"], job.recipe, variant.samples, variant.sources)
    mixture = job.recipe.train.stages[-1].mixture
    used.warn(frozenset(languages(job.recipe, mixture)))
    return used
