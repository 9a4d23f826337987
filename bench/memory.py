"""How far is the estimate of a dry run from the memory that training takes?

Each case trains a model of random weights for two steps of two micro-batches, with the code of the
loop. Measured is the peak of the process's resident memory (on a GPU, of torch's allocations) above
what it had after training a microscopic model in the same way: with all libraries loaded and
nothing else. The C library gives freed memory back at once.
"""

import json
import os
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

ROWS, LENGTH, STEPS = 2, 512, 2
SHAPES = {
    "llama": {
        "model_type": "llama", "hidden_size": 384, "intermediate_size": 1024,
        "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 2,
        "vocab_size": 16384, "tie_word_embeddings": True, "max_position_embeddings": 2048,
    },
    "gpt_bigcode": {
        "model_type": "gpt_bigcode", "n_embd": 384, "n_inner": 1536, "n_layer": 6, "n_head": 6,
        "vocab_size": 16384, "n_positions": 2048, "multi_query": True, "attn_pdrop": 0.0,
        "activation_function": "gelu",
    },
}  # fmt: skip
_PLAIN = {
    "model": "llama", "precision": "bf16", "zero": 1, "checkpointing": False, "rows": ROWS,
    "document": 448, "chunk": None, "vocabulary": 16384, "micro_batches": 2,
}  # fmt: skip
EXTRA: list[dict[str, Any]] = [
    {"zero": 3},
    {"zero": 3, "precision": "fp32", "checkpointing": True},
    {"precision": "autocast"},
    {"precision": "autocast", "model": "gpt_bigcode"},
    {"micro_batches": 1, "model": "gpt_bigcode"},
    {"rows": 8},
    {"rows": 8, "checkpointing": True},
    {"vocabulary": 49152, "checkpointing": True},
    {"vocabulary": 49152, "checkpointing": True, "chunk": 128},
    {"document": 96},
    {"document": 96, "model": "gpt_bigcode"},
]


def cases() -> list[dict[str, Any]]:
    """Return what is measured, one process each."""
    grid = product(SHAPES, ("fp32", "bf16"), (0, 1, 2), (False, True))
    plain = [dict(zip(("model", "precision", "zero", "checkpointing"), one, strict=True))
             for one in grid]  # fmt: skip
    return [{**_PLAIN, **case} for case in [*plain, *EXTRA]]


def measure() -> dict[str, Any]:
    """Return estimate and measurement of each case in MB, and the error in percent."""
    found = [case for model in SHAPES for case in _apart(model)]
    errors = [abs(case["error_percent"]) for case in found]
    return {
        "cases": found,
        "largest_error_percent": max(errors),
        "mean_error_percent": round(sum(errors) / len(errors), 1),
        "within_10_percent": sum(error <= 10 for error in errors),
    }


def _apart(model: str) -> list[dict[str, Any]]:
    """Return the cases of a model, measured in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory", model],
        stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **_ENVIRONMENT},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu", "TRANSFORMERS_VERBOSITY": "error",
    "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1",
}  # fmt: skip


_SMALL = {
    "hidden_size": 96, "intermediate_size": 64, "num_hidden_layers": 1, "n_embd": 96,
    "n_inner": 64, "n_layer": 1, "vocab_size": 256,
}  # fmt: skip


def _case(case: dict[str, Any]) -> dict[str, float]:
    """Train as a case says and return what was estimated and measured."""
    import gc

    from aurora_release.train.estimate.memory import How, memory, shape

    config = {**SHAPES[case["model"]], "vocab_size": case["vocabulary"]}
    _train({**config, **{key: _SMALL[key] for key in _SMALL if key in config}}, case)
    gc.collect()
    before = _now()
    measured = _train(config, case) - before
    how = How(
        case["precision"], case["zero"], 1, case["rows"], LENGTH, case["checkpointing"],
        case["chunk"], accumulates=case["micro_batches"] > 1, accelerator=_cuda(),
    )  # fmt: skip
    expected = memory(shape(config), how).total
    return {
        "estimated_mb": round(expected / 1e6, 1),
        "measured_mb": round(measured / 1e6, 1),
        "error_percent": round(100 * (expected / measured - 1), 1),
    }


def _train(config: dict[str, Any], case: dict[str, Any]) -> int:
    """Train a model of random weights; return the peak of memory while it trained, in bytes."""
    import gc

    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from aurora_release.recipe import Train, TrainStage
    from aurora_release.shipped import shipped
    from aurora_release.train import engine, model
    from aurora_release.train.loss import packed_loss

    torch.manual_seed(0)
    stage = TrainStage(name="cap", tokens=1, mixture={"text": 1.0}, learning_rate=1e-4)
    train = Train(
        stages=(stage,), micro_batch=case["rows"],
        global_batch=case["rows"] * case["micro_batches"], precision=case["precision"],
        activation_checkpointing=case["checkpointing"], loss_chunk=case["chunk"],
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForCausalLM.from_config(AutoConfig.for_model(**config)).save_pretrained(folder)
        loaded = model.load(Path(folder), train)
    started = engine.start(loaded, train, shipped(f"train/zero/zero{case['zero']}.json"))
    gc.collect()
    _forget_peak()
    device = started.device
    for _ in range(STEPS * case["micro_batches"]):
        tokens = torch.randint(config["vocab_size"], (case["rows"], LENGTH), device=device)
        positions = (torch.arange(LENGTH, device=device) % case["document"]).repeat(case["rows"], 1)
        loss = packed_loss(started, tokens, positions, tokens, case["chunk"])
        started.backward(loss / tokens.numel())
        started.step()
        del loss
    found = _peak()
    started.destroy()
    del started, loaded
    gc.collect()
    return found


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _now() -> int:
    import torch

    return torch.cuda.memory_allocated() if _cuda() else _status("VmRSS")


def _peak() -> int:
    import torch

    return torch.cuda.max_memory_allocated() if _cuda() else _status("VmHWM")


def _forget_peak() -> None:
    """Let the peak begin again at what is there now (proc(5), clear_refs)."""
    import torch

    if _cuda():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    for each in cases():
        if each["model"] == sys.argv[1]:
            sys.stdout.write(json.dumps(each | _case(each)) + "\n")
            sys.stdout.flush()
    os._exit(0)  # many engines in one process do not always leave in good order
