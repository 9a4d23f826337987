"""Peak memory of each method on a model of one layer and on one of twelve.

Layer by layer, the second needs little more than the first: what eleven layers more take, in
layers, is the answer. Weights are random: memory does not depend on them.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from aurora_release.hub import _write_byte_tokenizer
from aurora_release.quantize.calibrate import Calibration
from aurora_release.quantize.certificate import weights
from aurora_release.quantize.make import Variant, make
from aurora_release.recipe import Gguf, Gptq, Int8, Nf4

LAYERS = 12
SAMPLES = tuple(tuple((7 * row + 3 * column) % 250 for column in range(64)) for row in range(4))
VARIANTS: tuple[Variant, ...] = (
    Nf4(method="nf4"),
    Int8(method="int8"),
    Gguf(method="gguf", name="q8-0", type="Q8_0"),
    Gptq(method="gptq", group_size=128, samples=len(SAMPLES)),
)


def measure() -> dict[str, Any]:
    """Return the peak of each method for 1 and 12 layers, and what the layers weigh."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {layers: _model(Path(scratch) / str(layers), layers) for layers in (1, LAYERS)}
        sizes = {
            n: sum((f / name).stat().st_size for name in weights(f)) for n, f in folders.items()
        }
        layer = (sizes[LAYERS] - sizes[1]) / (LAYERS - 1)
        rows = {}
        for variant in VARIANTS:
            peaks = [_peak(folder, variant, Path(scratch)) for folder in folders.values()]
            more = peaks[1] - peaks[0]
            rows[variant.name] = {
                "peak_1": peaks[0], "peak_many": peaks[1], "more_layers": round(more / layer, 1),
            }  # fmt: skip
    return {"layers": LAYERS, "layer_bytes": layer, "model_bytes": sizes[LAYERS], "methods": rows}


def _size(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in weights(folder))


def _peak(folder: Path, variant: Variant, scratch: Path) -> int:
    used = Calibration(SAMPLES, ("made",) * len(SAMPLES), (), ())
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        peak = make(folder, Path(out), variant, used if variant.method == "gptq" else None)
    assert peak is not None, "this system does not tell the peak"
    return peak


def _model(folder: Path, layers: int) -> Path:
    """Write a model of random bfloat16 weights, in files of one layer or so each."""
    folder.mkdir()
    config = LlamaConfig(
        vocab_size=512, hidden_size=1024, intermediate_size=2816, num_hidden_layers=layers,
        num_attention_heads=16, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    _write_byte_tokenizer(folder, config.vocab_size)
    # the one split into words that llama.cpp knows, and a merge, without which it reads no file
    tokenizer = json.loads((folder / "tokenizer.json").read_bytes())
    tokenizer["pre_tokenizer"]["use_regex"] = True
    tokenizer["model"]["vocab"]["ab"] = config.vocab_size - 1
    tokenizer["model"]["merges"] = [["a", "b"]]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="30MB")
    return folder
