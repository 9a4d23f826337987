"""Makes one variant of a model by the method it names."""

import importlib.util
from pathlib import Path

from aurora_release.errors import AuroraError, missing_extra
from aurora_release.quantize import gguf as ggufs
from aurora_release.quantize.apart import apart
from aurora_release.quantize.bits_and_bytes import int8, nf4
from aurora_release.quantize.calibrate import Calibration
from aurora_release.quantize.compressed import compressed, interpreter
from aurora_release.quantize.folder import configuration
from aurora_release.quantize.gptq import check_group_size, gptq
from aurora_release.recipe import Compressed, Gguf, Gptq, Int8, Nf4

Variant = Nf4 | Int8 | Gptq | Gguf | Compressed

_NEEDS = {
    "nf4": "bitsandbytes", "int8": "bitsandbytes", "gptq": "gptqmodel", "gguf": "gguf",
    "compressed-tensors": "compressed_tensors",
}  # fmt: skip


def calibrated(variant: Variant) -> bool:
    """Return whether a variant is made with calibration text."""
    return isinstance(variant, (Gptq, Compressed)) or (
        isinstance(variant, Gguf) and variant.importance
    )


def check(source: Path, variant: Variant) -> None:
    """Check that the method can do this model, before any work.

    Raises:
        AuroraError: one sentence says what does not fit, and what would.
    """
    package = _NEEDS[variant.method]
    if importlib.util.find_spec(package) is None:
        raise missing_extra(package, "quantize")
    configuration(source)
    if isinstance(variant, Gptq):
        check_group_size(source, variant.group_size)
    elif isinstance(variant, Gguf):
        ggufs.check(source, variant.type, variant.importance)
    elif isinstance(variant, Compressed):
        interpreter()
        if variant.scheme == "W4A16":
            check_group_size(source, variant.group_size)


def make(source: Path, out: Path, variant: Variant, calibration: Calibration | None) -> int | None:
    """Write the variant to `out`, in a process of its own, and return its peak memory in bytes.

    Raises:
        AuroraError: the model, its tokenizer or the calibration does not fit the method.
    """
    check(source, variant)
    if calibrated(variant) and calibration is None:
        raise AuroraError(f"{variant.name}: this method is calibrated on text; name some.")
    samples = calibration.samples if calibration else None
    if calibration:
        calibration.keep(out)
    if isinstance(variant, Gguf):
        return apart(ggufs.gguf, source, out, type=variant.type, samples=samples)
    if isinstance(variant, Nf4):
        return apart(nf4, source, out)
    if isinstance(variant, Int8):
        return apart(int8, source, out)
    assert samples is not None
    if isinstance(variant, Compressed):
        how = variant.model_dump(include={"scheme", "group_size"})
        return compressed(source, out, samples=samples, **how)
    return apart(
        gptq, source, out, bits=variant.bits, group_size=variant.group_size,
        act_order=variant.act_order, samples=samples,
    )  # fmt: skip
