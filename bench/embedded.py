"""How many tokens does a CPU second make: the embedded engine beside transformers' `generate`?

In one process and on one compute thread, in turn: `generate` answers eight chat questions one after
the other, as a naive server would; the embedded engine answers them one at a time, and all eight at
once. Greedy answers of 64 tokens, in float32 and in bfloat16, of SmolLM2-135M.
"""

import asyncio
import os
import statistics
import time
from typing import Any

from aurora_release import chain
from aurora_release.evaluate.load import LoadedModel, load
from aurora_release.serve.engines.embedded import EmbeddedEngine
from aurora_release.serve.engines.protocol import GenerationRequest, ModelFacts
from aurora_release.weight_layout import pack
from bench.filter import QUESTIONS, RUNS

ROUNDS, TOKENS = 5, 64
WAYS = ("generate", "one at a time", "eight at once")


def measure() -> dict[str, Any]:
    """Return tokens a CPU second: medians of rounds, and their ratios to `generate` in each."""
    import torch

    torch.set_num_threads(1)
    base = chain.run("demo", runs=RUNS, until="base") / "base"
    before, speeds = os.getloadavg(), dict[str, dict[str, list[float]]]()
    exact = {"float32": True, "bfloat16": False}
    plain = {dtype: load(base, exact=each) for dtype, each in exact.items()}
    packed = {dtype: load(base, exact=each) for dtype, each in exact.items()}
    for loaded in packed.values():
        pack(loaded.model)  # as a served model is
    for turn in range(ROUNDS + 1):
        for dtype in exact:
            for way in WAYS:
                speed = _speed((plain if way == "generate" else packed)[dtype], way)
                if turn:  # the first round warms up
                    speeds.setdefault(dtype, {}).setdefault(way, []).append(speed)
    naive = speeds["float32"]["generate"]
    return {
        "what": " ".join(str(__doc__).split("\n\n")[1].split()),
        "dtypes": {
            dtype: {way: _of(rounds, ways["generate"], naive) for way, rounds in ways.items()}
            for dtype, ways in speeds.items()
        },
        "rounds": ROUNDS,
        "load_before": before,
    }


def _of(rounds: list[float], same: list[float], naive: list[float]) -> dict[str, Any]:
    """Return the median speed, beside `generate` in the same type and in float32."""

    def ratio(others: list[float]) -> float:
        return statistics.median(a / b for a, b in zip(rounds, others, strict=True))

    return {
        "tokens_per_cpu_second": statistics.median(rounds),
        "of_generate": ratio(same),
        "of_generate_in_float32": ratio(naive),
        "rounds": rounds,
    }


def _speed(loaded: LoadedModel, way: str) -> float:
    prompts = [_prompt(loaded, question) for question in QUESTIONS]
    if way == "generate":
        began = time.process_time()
        made = sum(_generated(loaded, prompt) for prompt in prompts)
        return made / (time.process_time() - began)
    facts = ModelFacts("x", 512, loaded.model.config.vocab_size, "", str(loaded.model.dtype))
    engine = EmbeddedEngine(loaded.model, loaded.tokenizer, facts, limits=_limits())
    engine.start()
    try:
        began = time.process_time()
        made = asyncio.run(_served(engine, prompts, 8 if way == "eight at once" else 1))
        return made / (time.process_time() - began)
    finally:
        engine.stop()


def _limits() -> Any:
    from aurora_release.serve.engines.embedded import Limits

    return Limits(slots=8, max_total_tokens=512)


def _prompt(loaded: LoadedModel, question: str) -> list[int]:
    messages = [{"role": "user", "content": question}]
    text = loaded.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    ids: list[int] = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _generated(loaded: LoadedModel, prompt: list[int]) -> int:
    import torch

    ids = torch.tensor([prompt])
    with torch.inference_mode():
        out = loaded.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False
        )
    return int(out.shape[1]) - len(prompt)


async def _served(engine: EmbeddedEngine, prompts: list[list[int]], at_once: int) -> int:
    free, made = asyncio.Semaphore(at_once), 0

    async def one(prompt: list[int]) -> int:
        async with free:
            request = GenerationRequest(tuple(prompt), TOKENS)
            return len([delta async for delta in engine.generate(request)])

    for each in await asyncio.gather(*(one(prompt) for prompt in prompts)):
        made += each
    return made
