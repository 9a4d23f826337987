"""Reads the variants of a run without this package and compares what they write with its replies.

    python -m scripts.read_plain RUN [OUT]

NF4, int8 and GPTQ in plain transformers, GGUF in llama.cpp (the npm package node-llama-cpp), each
in a process that does not import this package. Asked is what the evaluation of the variant asked
first; `equal` counts replies that are the same to the letter, `agreement` is the share of each
reply before the first letter that differs. llama.cpp rounds activations to 8 bits where the
evaluation multiplies the same weights in bfloat16, so its greedy text may turn at a near tie.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from aurora_release import atomic, evidence
from aurora_release.hardware import multiplies_bf16
from aurora_release.quantize.gguf import FILE
from aurora_release.quantize.llama_cpp import node_folder

COUNT = 32
"""Requests: one batch of the evaluation, so that padding is the same."""

PLAIN = """
import json, os, sys
os.environ["GPTQMODEL_CPU_WORKERS"] = "2"
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
job = json.load(sys.stdin)
tokenizer = AutoTokenizer.from_pretrained(job["folder"])
asked = [tokenizer.apply_chat_template([{"role": "user", "content": text}],
         add_generation_prompt=True, return_dict=False) for text in job["prompts"]]
found = []
if job["generate"]:
    model = AutoModelForCausalLM.from_pretrained(
        job["folder"], dtype=job["dtype"], device_map="cpu")
    for layer in model.modules():
        # gptqmodel would compile it in layers that are not of 4 bits
        layer.__dict__.pop("dequantize_weight", None)
        if hasattr(layer, "_cache_enabled"):
            layer._cache_enabled = True
    end, width = tokenizer.eos_token_id, max(map(len, asked))
    ids = torch.tensor([[end] * (width - len(row)) + row for row in asked])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in asked])
    made = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, pad_token_id=end,
                          max_new_tokens=job["count"], repetition_penalty=1.0)
    found = made[:, width:].tolist()
if job["tokens"]:
    found = job["tokens"]
texts = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in found]
assert not [name for name in sys.modules if name.startswith("aurora")]
print("FOUND" + json.dumps({"asked": asked, "texts": texts}))
"""


def main() -> None:
    """Print and write what each variant of a run writes without us, beside its replies."""
    run, out = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    found = {}
    for path in sorted(run.glob("evaluate-*/replies.jsonl")):
        name = path.parent.name.removeprefix("evaluate-")
        made = evidence.measured(evidence.read(run / name / evidence.FILE))
        if "certificate" in made:
            found[name] = _compared(run / name, path)
            sys.stdout.write(f"{name}: {json.dumps(found[name])}\n")
    if out:
        atomic.write_text(out, json.dumps(found, indent=1, sort_keys=True) + "\n")


def _compared(folder: Path, replies: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in replies.read_text("utf-8").splitlines()]
    rows = [row for row in lines if row["wrapper"] == "plain"][:COUNT]
    recipe = json.loads((replies.parent / evidence.FILE).read_bytes())["predicate"]["recipe"]
    prompts, count = [row["prompt"] for row in rows], recipe["max_new_tokens"]
    if (folder / FILE).is_file():
        asked = _transformers(folder, prompts, count, generate=False)["asked"]
        tokens = _llama_cpp(folder / FILE, asked, count)
        texts = _transformers(folder, prompts, count, tokens=tokens, generate=False)["texts"]
    else:
        texts = _transformers(folder, prompts, count)["texts"]
    pairs = [(row["answer"], text) for row, text in zip(rows, texts, strict=True)]
    shares = [len(os.path.commonprefix(pair)) / max(1, *map(len, pair)) for pair in pairs]
    return {
        "read by": "llama.cpp" if (folder / FILE).is_file() else "transformers",
        "of": len(pairs),
        "equal": sum(ours == plain for ours, plain in pairs),
        "agreement": round(sum(shares) / len(shares), 3),
    }


def _transformers(
    folder: Path, prompts: list[str], count: int, tokens: Any = None, generate: bool = True
) -> dict[str, Any]:
    job = {"folder": str(folder.resolve()), "prompts": prompts, "count": count, "tokens": tokens}
    config = json.loads((folder / "config.json").read_bytes()).get("quantization_config", {})
    # what the evaluation computed in, on this machine
    exact = "bfloat16" if multiplies_bf16() else "float32"
    job["dtype"] = "auto" if config.get("quant_method") == "bitsandbytes" else exact
    # -I: neither the working folder nor PYTHONPATH is looked at
    done = subprocess.run(
        [sys.executable, "-I", "-c", PLAIN], input=json.dumps({**job, "generate": generate}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout.rpartition("FOUND")[2])
    return answer


def _llama_cpp(file: Path, prompts: Any, count: int) -> Any:
    script = node_folder() / "aurora_llama_cpp.mjs"
    shutil.copyfile(Path(__file__).parents[1] / "tests" / "quantize" / "llama_cpp.mjs", script)
    content = {"model": str(file.resolve()), "texts": [], "prompts": prompts, "count": count}
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as job:
        json.dump(content, job)
        job.flush()
        done = subprocess.run(["node", script, job.name], capture_output=True, check=True)
    return json.loads(done.stdout)["continuations"]


if __name__ == "__main__":
    main()
