"""GPTQ: weights rounded one column at a time, each error made good by the columns that follow.

Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers"; done by GPTQModel, which writes AutoGPTQ's format.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.quantize.folder import configuration, take_over

log = logging.getLogger(__name__)

_GROUP_SIZES = (16, 32, 64, 128, 256, 512, 1024)
_NOT_LINEAR = ("embed_tokens", "wte", "wpe", "lm_head")
_PACKED = 32
"""Outputs of a layer are packed by so many."""


def gptq(
    source: Path,
    out: Path,
    *,
    bits: int,
    group_size: int,
    samples: Sequence[Sequence[int]],
    act_order: bool = False,
) -> None:
    """Write the GPTQ variant of the model in `source` to `out`, calibrated on token ids.

    The bytes of the weights depend on nothing but the arguments. Layers are read, rounded and put
    away one after the other. Importing GPTQModel changes other libraries and its run is loud:
    `apart` keeps both out of the caller's process.

    Raises:
        AuroraError: no calibration, no such architecture, or a group size that does not fit.
    """
    source, out = source.resolve(), out.resolve()
    configuration(source)
    check_group_size(source, group_size)
    if not samples or not all(samples):
        raise AuroraError("GPTQ has an empty calibration sample: give it text of the model's kind.")
    # before the import: on two cores its own choice of one worker fails
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    from gptqmodel import GPTQModel, QuantizeConfig

    # in a folder of its own: it writes logs/ into the working folder
    with tempfile.TemporaryDirectory(prefix=".gptq-", dir=out) as scratch, chdir(scratch):
        settings = QuantizeConfig(
            bits=bits,
            group_size=group_size,
            desc_act=act_order,
            act_group_aware=not act_order,
            # a relative path, because it is written into the result
            offload_to_disk_path="offload",
        )
        model = GPTQModel.load(str(source), settings, trust_remote_code=False)
        model.layer_callback = _Progress(model.model.config.num_hidden_layers)
        rows = [{"input_ids": list(ids), "attention_mask": [1] * len(ids)} for ids in samples]
        with warn_of_hessians():
            model.quantize(rows, batch_size=4, calibration_data_min_length=1)
        model.save(str(out))
    # holds the time of each layer
    (out / "quant_log.csv").unlink(missing_ok=True)
    take_over(source, out)


class _Progress:
    """Says which layer is done."""

    def __init__(self, layers: int) -> None:
        self._layers = layers

    def layer_complete(self, *, layer_idx: int, submodule_finalized: bool) -> None:
        if submodule_finalized:
            log.info("%-14s layer %d of %d", "", layer_idx + 1, self._layers)


@contextmanager
def warn_of_hessians() -> Iterator[None]:
    """Name each layer whose calibration does not determine its weights, while GPTQModel works.

    It mends a Hessian that is not positive definite by a larger diagonal, and rounds to the
    nearest where that does not help; either is less than GPTQ, and says so only in its own log.
    """
    from gptqmodel.quantization.gptq import GPTQ

    original = GPTQ.hessian_inverse

    def noted(self: Any, hessian: Any) -> Any:
        diagonal = hessian.diagonal().clone()
        factor, damp = original(self, hessian)
        if factor is None:
            log.warning("%s: its Hessian is not positive definite; it is rounded to the nearest "
                        "instead. Calibrate on more text.", self.name)  # fmt: skip
        elif damp > self.qcfg.damp_percent or not hessian.diagonal().equal(diagonal):
            log.warning("%s: its Hessian is not positive definite; its diagonal was raised. "
                        "Calibrate on more text.", self.name)  # fmt: skip
        return factor, damp

    GPTQ.hessian_inverse = noted
    try:
        yield
    finally:
        GPTQ.hessian_inverse = original


def check_group_size(source: Path, group_size: int) -> None:
    """Check that every linear layer can be cut into groups of `group_size` inputs, and packed.

    GPTQModel writes what does not fit without complaint; the first forward pass then dies.
    """
    inputs, outputs = _widths(source)
    fitting = [size for size in _GROUP_SIZES if not any(width % size for width in inputs)]
    if group_size not in fitting:
        raise AuroraError(
            f"group_size: {group_size} does not divide the {', '.join(map(str, sorted(inputs)))} "
            f"inputs of this model's layers; {', '.join(map(str, fitting)) or 'no size'} would fit."
        )
    odd = sorted(width for width in outputs if width % _PACKED)
    if odd:
        raise AuroraError(
            f"{source}: GPTQ packs outputs by {_PACKED}, and layers of this model have "
            f"{', '.join(map(str, odd))} of them; choose nf4, int8 or gguf."
        )


def _widths(source: Path) -> tuple[set[int], set[int]]:
    """Return the input and output sizes of the linear layers that are quantized: not the head."""
    from safetensors import safe_open

    shapes = []
    for path in source.glob("*.safetensors"):
        # the headers alone: whoever asks has not loaded torch, and may be refused
        file: Any = safe_open(path, "np")
        shapes += [
            file.get_slice(key).get_shape()
            for key in sorted(file.keys())
            if key.removesuffix(".weight").rpartition(".")[2] not in _NOT_LINEAR
        ]
    linear = [shape for shape in shapes if len(shape) == 2]
    return {inputs for _, inputs in linear}, {outputs for outputs, _ in linear}
