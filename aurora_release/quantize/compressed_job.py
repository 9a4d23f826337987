"""Run by a Python that has llmcompressor, without this package.

stdin: {source, out, scheme, group_size, samples: [[token id]]}; last line of stdout: {peak}.
"""

import json
import resource
import sys


def main() -> None:
    """Quantize as told and say the peak memory in bytes."""
    import torch
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.gptq import GPTQModifier
    from transformers import AutoModelForCausalLM

    job = json.load(sys.stdin)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(
        job["source"], dtype=torch.bfloat16, device_map="cpu", local_files_only=True
    )
    rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in job["samples"]]
    oneshot(
        model=model,
        dataset=Dataset.from_list(rows),
        recipe=GPTQModifier(ignore=["lm_head"], **_scheme(job["scheme"], job["group_size"])),
        num_calibration_samples=len(rows),
        max_seq_length=max(map(len, job["samples"])),
        shuffle_calibration_samples=False,
    )
    model.save_pretrained(job["out"], save_compressed=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sys.stdout.write("\n" + json.dumps({"peak": peak}) + "\n")


def _scheme(name: str, group_size: int) -> dict[str, object]:
    """Return llmcompressor's own W8A8, or 4 bits in groups of `group_size`."""
    if name != "W4A16":
        return {"targets": "Linear", "scheme": name}
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    weights = QuantizationArgs(
        num_bits=4, type="int", symmetric=True, strategy="group", group_size=group_size
    )
    return {"config_groups": {"group_0": QuantizationScheme(targets=["Linear"], weights=weights)}}


if __name__ == "__main__":
    main()
