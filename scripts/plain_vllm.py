"""Loads model folders in plain vLLM and compares its greedy text with ours, token by token.

    AURORA_VLLM=/path/to/python python -m scripts.plain_vllm FOLDER...

vLLM runs in its own environment, in a process that does not have this package. Both sides compute
in the type that evaluation takes on this machine, save that vLLM has no float32 for GPTQ. Where the
likeliest two tokens lie close, the last digits of a sum decide, so the gap between them is printed
at the first difference.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from aurora_release.hardware import multiplies_bf16
from bench.vllm import QUIET
from scripts.conform import PROMPTS

TOKENS = 32

PLAIN = """
import json, sys
from vllm import LLM, SamplingParams
job = json.loads(sys.argv[1])
model = LLM(job["folder"], dtype=job["dtype"], enforce_eager=True, max_model_len=512)
how = SamplingParams(temperature=0, max_tokens=job["tokens"])
prompts = [{"prompt_token_ids": ids} for ids in job["prompts"]]
answers = [list(model.generate([prompt], how)[0].outputs[0].token_ids) for prompt in prompts]
assert not [name for name in sys.modules if name.startswith("aurora")]
print("FOUND" + json.dumps(answers))
"""


def main() -> None:
    """Print a line for each folder, and each first difference."""
    for name in sys.argv[1:]:
        folder = Path(name)
        model, prompts, ours = _ours(folder)
        theirs = _theirs(folder, prompts)
        pairs = list(zip(prompts, ours, theirs, strict=True))
        same = sum(a == b for _, a, b in pairs)
        sys.stdout.write(
            f"{folder}: {same} of {len(pairs)} texts of {TOKENS} tokens are the same\n"
        )
        for prompt, a, b in pairs:
            if a != b:
                sys.stdout.write(f"  {_difference(model, prompt, a, b)}\n")


def _ours(folder: Path) -> tuple[Any, list[list[int]], list[list[int]]]:
    """Return the model, the prompts, and what evaluation would write after each."""
    import torch

    from aurora_release.evaluate.load import load

    loaded = load(folder)
    prompts = [loaded.tokenizer.encode(prompt) for prompt in PROMPTS]
    answers = []
    for prompt in prompts:
        ids = torch.tensor([prompt], device=loaded.model.device)
        with torch.inference_mode():
            row = loaded.model.generate(  # type: ignore[operator]
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=TOKENS,
                do_sample=False,
                pad_token_id=loaded.tokenizer.eos_token_id,
            )[0]
        answers.append(row[len(prompt) :].tolist())
    return loaded.model, prompts, answers


def _theirs(folder: Path, prompts: list[list[int]]) -> list[list[int]]:
    job = {"folder": str(folder.resolve()), "prompts": prompts, "tokens": TOKENS}
    config = json.loads((folder / "config.json").read_bytes())
    short = multiplies_bf16() or "quantization_config" in config
    job["dtype"] = "bfloat16" if short else "float32"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [os.environ["AURORA_VLLM"], "-c", PLAIN, json.dumps(job)],
        capture_output=True,
        text=True,
        cwd="/",
        env={**environment, **QUIET, "VLLM_LOGGING_LEVEL": "ERROR"},
        check=False,
    )
    if done.returncode:
        sys.exit(f"{folder}: vLLM failed:\n{done.stderr[-2000:]}")
    answers: list[list[int]] = json.loads(done.stdout.rpartition("FOUND")[2])
    return answers


def _difference(model: Any, prompt: list[int], ours: list[int], theirs: list[int]) -> str:
    """Return where two answers part, and how far apart their tokens lie in our model."""
    import torch

    place = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
    ids = torch.tensor([[*prompt, *ours[:place]]], device=model.device)
    with torch.inference_mode():
        scores = model(ids).logits[0, -1].float().log_softmax(-1)
    gap = float(scores[ours[place]] - scores[theirs[place]])
    return f"they part at token {place + 1}, whose two choices lie {gap:.3f} nats apart here"


if __name__ == "__main__":
    main()
