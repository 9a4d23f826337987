"""What GPTQ through this package costs beside bare GPTQModel, in processor seconds.

The same model, samples and settings, in turn, each in a fresh process: what a user's own script
would do (load, quantize, save), and `make`, which writes a variant; the certificate, which a bare
script does not have, is not in it. Six layers in the shape of SmolLM2-135M: of more, what we add
is a smaller part. Weights are random: time does not depend on them.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from aurora_release.hub import _write_byte_tokenizer
from aurora_release.shipped import shipped

ROUNDS = 3
LAYERS = 6
BITS, GROUP = 4, 64
SAMPLES = [[(7 * row + 3 * column) % 250 for column in range(512)] for row in range(8)]

BARE = """
import json, os, sys
os.environ["GPTQMODEL_CPU_WORKERS"] = "2"
from gptqmodel import GPTQModel, QuantizeConfig
job = json.loads(sys.argv[1])
model = GPTQModel.load(job["source"], QuantizeConfig(bits=job["bits"], group_size=job["group"]))
rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in job["samples"]]
model.quantize(rows, batch_size=4, calibration_data_min_length=1)
model.save(job["out"])
"""

OURS = """
import json, sys
from pathlib import Path
from aurora_release.quantize.calibrate import Calibration
from aurora_release.quantize.make import make
from aurora_release.recipe import Gptq
job = json.loads(sys.argv[1])
samples = tuple(map(tuple, job["samples"]))
used = Calibration(samples, ("made",) * len(samples), (), ())
variant = Gptq(method="gptq", bits=job["bits"], group_size=job["group"], samples=len(samples))
make(Path(job["source"]), Path(job["out"]), variant, used)
"""


def measure() -> dict[str, Any]:
    """Return processor seconds of each in every round, and the median of what ours adds."""
    rows: dict[str, list[float]] = {"bare": [], "ours": []}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        source = _model(Path(scratch) / "model")
        for _ in range(ROUNDS):
            for name, script in {"bare": BARE, "ours": OURS}.items():
                rows[name].append(_seconds(script, source, Path(scratch)))
    ratios = [ours / bare for bare, ours in zip(rows["bare"], rows["ours"], strict=True)]
    return {
        "layers": LAYERS, "samples": len(SAMPLES), "tokens": sum(map(len, SAMPLES)),
        "bits": BITS, "group": GROUP,
        "cpu_seconds": rows, "overhead": median(ratios) - 1,
        "load_before": load, "load_after": os.getloadavg()[0],
    }  # fmt: skip


def _seconds(script: str, source: Path, scratch: Path) -> float:
    """Return the processor seconds of one process and of those that it starts."""
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        job = {"source": str(source), "out": out, "bits": BITS, "group": GROUP, "samples": SAMPLES}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = {**os.environ, "PYTHONPATH": os.getcwd()}
        subprocess.run(
            [sys.executable, "-c", script, json.dumps(job)],
            cwd=out, env=environment, check=True, capture_output=True,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def _model(folder: Path) -> Path:
    """Write a model of random weights in the shape of SmolLM2-135M, with fewer layers."""
    folder.mkdir()
    shape = json.loads(shipped("train/models/smollm2-135m.json").read_bytes())
    shape |= {"num_hidden_layers": LAYERS}
    config = LlamaConfig(**{key: value for key, value in shape.items() if key != "model_type"})
    _write_byte_tokenizer(folder, config.vocab_size)
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder
