"""GPTQ: weights rounded one column at a time, each error made good by the columns that follow.

Frantar et al. 2023, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers"; done by GPTQModel, which writes AutoGPTQ's format.
"""

import os
import tempfile
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path

from aurora_release.errors import AuroraError
from aurora_release.quantize.folder import configuration, take_over

_GROUP_SIZES = (16, 32, 64, 128, 256, 512, 1024)


def gptq(
    source: Path, out: Path, *, bits: int, group_size: int, samples: Sequence[Sequence[int]]
) -> None:
    """Write the GPTQ variant of the model in `source` to `out`, calibrated on token ids.

    The bytes of the weights depend on nothing but the arguments. Importing GPTQModel changes
    other libraries and its run is loud: `apart` keeps both out of the caller's process.

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
        # a relative path, because it is written into the result
        settings = QuantizeConfig(bits=bits, group_size=group_size, offload_to_disk_path="offload")
        model = GPTQModel.load(str(source), settings, trust_remote_code=False)
        rows = [{"input_ids": list(ids), "attention_mask": [1] * len(ids)} for ids in samples]
        model.quantize(rows, batch_size=4, calibration_data_min_length=1)
        model.save(str(out))
    # holds the time of each layer
    (out / "quant_log.csv").unlink(missing_ok=True)
    take_over(source, out)


def check_group_size(source: Path, group_size: int) -> None:
    """Check that every linear layer can be cut into groups of `group_size` inputs.

    GPTQModel writes what does not fit without complaint; the first forward pass then dies.
    """
    widths = _input_widths(source)
    fitting = [size for size in _GROUP_SIZES if not any(width % size for width in widths)]
    if group_size not in fitting:
        raise AuroraError(
            f"group_size: {group_size} does not divide the {', '.join(map(str, sorted(widths)))} "
            f"inputs of this model's layers; {', '.join(map(str, fitting)) or 'no size'} would fit."
        )


def _input_widths(source: Path) -> set[int]:
    """Return the input sizes of the linear layers that GPTQ quantizes: all but the head."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    head = model.get_output_embeddings()
    return {
        module.in_features
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
