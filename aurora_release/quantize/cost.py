"""What a variant costs to run: load time, peak memory, prefill and decode, in a process of its own.

Processor seconds of one thread are counted, not the clock: a busy machine gives the same numbers.
Where there is a GPU, the clock is.
"""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.node import node_folder
from aurora_release.quantize.apart import apart
from aurora_release.quantize.gguf import FILE

PROMPT = 256
"""Tokens of the prompt that prefill is measured on."""
DECODED = 24
"""Tokens written by each sequence."""
BATCHES = (1, 8)


def cost(folder: Path) -> dict[str, Any] | None:
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


def _in_llama_cpp(file: Path) -> dict[str, Any] | None:
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
    began = clock()
    for _ in range(DECODED):
        output = model(step, past_key_values=cache, use_cache=True)
        cache, step = output.past_key_values, output.logits[:, -1:].argmax(-1)
    step.tolist()  # waits for a GPU
    return batch * DECODED / (clock() - began)


def _timed(clock: Callable[[], float], work: Callable[[], Any]) -> float:
    began = clock()
    work().item()
    return clock() - began
