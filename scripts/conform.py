"""Compares a server with the embedded engine over the same model, through the same seam.

    python -m scripts.conform MODEL http://HOST:PORT [openai|tgi]

Run it in float32 on both sides to compare tokens; in bfloat16 near ties fall either way.
"""

import asyncio
import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from aurora_release.serve.engines.choose import Choice, open_engine
from aurora_release.serve.engines.embedded import EmbeddedEngine, Limits, digest, name
from aurora_release.serve.engines.protocol import Delta, Engine, GenerationRequest, ModelFacts

PROMPTS = (
    "The capital of Finland is",
    "Suomen pääkaupunki on",
    "फ़िनलैंड की राजधानी",
    "フィンランドの首都は",
    "Thủ đô của Phần Lan là",
    "def fibonacci(n):\n",
)


def main() -> None:
    """Print what was compared, a line each."""
    folder, url, kind = Path(sys.argv[1]), sys.argv[2], (*sys.argv[3:], "openai")[0]
    ours, theirs = _exact(folder), open_engine(folder, Choice(kind, (url,)))  # type: ignore[arg-type]
    ours.start()
    theirs.start()
    try:
        for line in (*_greedy(ours, theirs), *_same_seed(theirs), *_stops(ours, theirs)):
            sys.stdout.write(f"{line}\n")
        sys.stdout.write(f"after a cancelled answer: {_cancelled(theirs)} under way\n")
    finally:
        ours.stop()
        theirs.stop()


def _exact(folder: Path) -> EmbeddedEngine:
    """Return the embedded engine in float32."""
    from aurora_release.evaluate.load import load

    loaded = load(folder, exact=True)
    vocabulary = loaded.model.config.vocab_size
    facts = ModelFacts(name(folder), 1024, vocabulary, digest(folder), "float32")
    return EmbeddedEngine(loaded.model, loaded.tokenizer, facts, Limits())


def _ask(engine: Engine, text: str, **options: Any) -> list[Delta]:
    request = GenerationRequest(tuple(engine.tokenizer.encode(text)), max_new_tokens=32)

    async def collect() -> list[Delta]:
        return [delta async for delta in engine.generate(replace(request, **options))]

    return asyncio.run(collect())


def _greedy(ours: Engine, theirs: Engine) -> list[str]:
    same, gaps = 0, [0.0]
    for prompt in PROMPTS:
        pair = [_ask(engine, prompt, top_logprobs=3) for engine in (ours, theirs)]
        a, b = ([delta.token.id for delta in deltas] for deltas in pair)
        texts = ["".join(delta.text for delta in deltas) for deltas in pair]
        same += a == b and texts[0] == texts[1] and pair[0][-1].ending == pair[1][-1].ending
        for mine, other in zip(*pair, strict=False):
            if mine.token.id != other.token.id:
                break
            gaps.append(abs(mine.token.logprob - other.token.logprob))
    return [
        f"greedy: tokens, text and ending of {same} of {len(PROMPTS)} answers are the same",
        f"logprobs of the same tokens differ by at most {max(gaps):.4f} nats",
    ]


def _same_seed(theirs: Engine) -> list[str]:
    found = []
    for seed in (7, 7, 8):
        deltas = _ask(theirs, PROMPTS[0], temperature=1.0, top_p=0.95, seed=seed)
        found.append([delta.token.id for delta in deltas])
    return [f"seed 7 twice: same {found[0] == found[1]}; seed 8: same {found[0] == found[2]}"]


def _stops(ours: Engine, theirs: Engine) -> list[str]:
    whole = "".join(delta.text for delta in _ask(ours, PROMPTS[0]))
    lines = []
    for include in (False, True):
        stop = {"stop": (whole[11:16],), "include_stop": include}
        a, b = (_ask(engine, PROMPTS[0], **stop) for engine in (ours, theirs))
        same = "".join(d.text for d in a) == "".join(d.text for d in b)
        lines.append(f"stop string, kept {include}: same text {same}, ending {b[-1].ending}")
    return lines


def _cancelled(theirs: Engine) -> int:
    request = GenerationRequest(tuple(theirs.tokenizer.encode(PROMPTS[0])), max_new_tokens=500)

    async def leave() -> int:
        async with aclosing(theirs.generate(request)) as deltas:
            await anext(deltas)
        await asyncio.sleep(0.5)
        return theirs.stats().active

    return asyncio.run(leave())


if __name__ == "__main__":
    main()
