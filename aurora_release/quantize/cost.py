"""What a variant costs to run: load time, peak memory, prefill and decode, in a process of its own.

Processor seconds of one thread are counted, not the clock, and models are measured in turn: a busy
machine slows them all alike. Where there is a GPU, the clock is.
"""

import json
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from aurora_release import atomic, evidence
from aurora_release.errors import AuroraError
from aurora_release.quantize.apart import apart
from aurora_release.quantize.certificate import weights
from aurora_release.quantize.gguf import FILE
from aurora_release.quantize.llama_cpp import node_folder

log = logging.getLogger(__name__)

FILE_OF_COSTS = "costs.json"
ROUNDS = 3
PROMPT = 256
"""Tokens of the prompt that prefill is measured on."""
DECODED = 24
"""Tokens written by each sequence, at most."""
BATCHES = (1, 8)
_ENOUGH = 5.0
"""Seconds after which decoding is known well enough, of layers that unpack at every step."""

Cost = dict[str, Any]


def costs(models: Mapping[str, Path], folder: Path, again: bool = False) -> dict[str, Cost | None]:
    """Return what each model costs to run, as `folder` keeps it or, with `again`, measured anew.

    Models are measured in turn, `ROUNDS` times; a cost holds the medians, each round, and the load
    of the machine. None where a model's runtime is not installed.
    """
    path = folder / FILE_OF_COSTS
    key = {name: weights(model) for name, model in models.items()}
    known = json.loads(path.read_bytes()) if path.is_file() else {}
    if again or known.get("weights") != key:
        known = evidence.plain({"weights": key, "costs": _in_turn(models)})
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, evidence.canonical(known) + b"\n")
    found: dict[str, Cost | None] = known["costs"]
    return found


def _in_turn(models: Mapping[str, Path]) -> dict[str, Cost | None]:
    taken: dict[str, list[Cost]] = {name: [] for name in models}
    for number in range(ROUNDS):
        for name, model in models.items():
            log.info("%-14s load, prefill, decode: %d of %d", name, number + 1, ROUNDS)
            if found := cost(model):
                taken[name].append({**found, "machine_load": os.getloadavg()[0]})
    return {name: _median(rounds) if rounds else None for name, rounds in taken.items()}


def _median(rounds: Sequence[Cost]) -> Cost:
    """Return the medians of all rounds, and the rounds."""

    def of(*keys: str) -> float:
        values: list[Any] = list(rounds)
        for key in keys:
            values = [value[key] for value in values]
        return float(median(values))

    return {
        "runtime": rounds[0]["runtime"],
        "load": of("load"),
        "prefill": of("prefill"),
        "decode": {str(batch): of("decode", str(batch)) for batch in BATCHES},
        "peak": None if rounds[0]["peak"] is None else of("peak"),
        "rounds": list(rounds),
    }


def cost(folder: Path) -> Cost | None:
    """Return load seconds, prefill and decode in tokens a second, and peak memory in bytes.

    GGUF files are measured in the real llama.cpp, which is what they are for; None where node or
    node-llama-cpp is not installed. Everything else is measured in transformers.
    """
    if (folder / FILE).is_file():
        return _in_llama_cpp(folder / FILE)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "cost.json"
        peak = apart(_in_transformers, folder.resolve(), out)
        return {"runtime": "transformers", **json.loads(out.read_bytes()), "peak": peak}


def _in_llama_cpp(file: Path) -> Cost | None:
    node = node_folder()
    if shutil.which("node") is None or not (node / "node_modules" / "node-llama-cpp").is_dir():
        return None
    # node resolves packages from where the script lies
    script = node / "aurora_cost.mjs"
    shutil.copyfile(Path(__file__).with_name("llama_cpp.mjs"), script)
    job = {"model": str(file.resolve()), "prompt": _prompt(1000), "count": DECODED}
    done = subprocess.run(
        ["node", script], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AuroraError(f"llama.cpp could not run {file}: {last}")
    return {"runtime": "llama.cpp", **json.loads(done.stdout)}


def _prompt(vocabulary: int) -> list[int]:
    """Return token ids that are the same every time and not all equal."""
    return [(37 * place) % (vocabulary - 300) + 300 for place in range(PROMPT)]


def _in_transformers(folder: Path, out: Path) -> None:
    """Write what a model costs in transformers to `out`; peak memory is that of this process."""
    import torch

    from aurora_release.evaluate.load import load

    torch.set_num_threads(1)
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    began = clock()
    model: Any = load(folder).model
    loaded = clock() - began
    prompt = torch.tensor([_prompt(model.config.vocab_size)], device=model.device)
    with torch.inference_mode():
        model(prompt[:, :8], use_cache=False)
        seconds = _timed(clock, lambda: model(prompt, use_cache=False).logits[0, -1].argmax())
        decode = {str(batch): _decode(clock, model, prompt[:, :1], batch) for batch in BATCHES}
    out.write_text(
        json.dumps({"load": loaded, "prefill": PROMPT / seconds, "decode": decode}),
        encoding="utf-8",
    )


def _decode(clock: Callable[[], float], model: Any, prompt: Any, batch: int) -> float:
    """Return the tokens a second that `batch` sequences write together."""
    step, cache = prompt.expand(batch, -1), None
    began, written = clock(), 0
    while written < DECODED and clock() - began < _ENOUGH:
        output = model(step, past_key_values=cache, use_cache=True)
        cache, step = output.past_key_values, output.logits[:, -1:].argmax(-1)
        written += 1
    step.tolist()  # waits for a GPU
    return batch * written / (clock() - began)


def _timed(clock: Callable[[], float], work: Callable[[], Any]) -> float:
    began = clock()
    work().item()
    return clock() - began
