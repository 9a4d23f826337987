"""GGUF folders in the real llama.cpp, by the prebuilt one of the npm package node-llama-cpp."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aurora_release.quantize.gguf import gguf
from aurora_release.serve.engines.choose import Choice, open_engine
from aurora_release.serve.engines.embedded import Limits
from aurora_release.serve.engines.protocol import Delta, Engine, GenerationRequest, Unsuitable

NODE = Path(os.environ.get("AURORA_NODE", Path(__file__).parents[2] / ".venv" / "node")).absolute()
# llama.cpp multiplies and caches in float16
TIE = 0.05

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules" / "node-llama-cpp").is_dir(),
    reason=f"no llama.cpp: npm i --ignore-scripts --prefix {NODE} node-llama-cpp@3.22.1",
)


@pytest.fixture(scope="module")
def llama(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("gguf")
    gguf(tiny_llama, folder, type="F16")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_llama / name, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AURORA_NODE", str(NODE))
        patch.setattr(shutil, "which", lambda name: name if name == "node" else None)
        engine = open_engine(folder, Choice(), Limits(slots=2, max_total_tokens=128))
    engine.start()
    yield engine
    engine.stop()


def ask(engine: Engine, *requests: GenerationRequest) -> list[list[Delta]]:
    async def one(request: GenerationRequest) -> list[Delta]:
        return [delta async for delta in engine.generate(request)]

    async def every() -> list[list[Delta]]:
        return await asyncio.gather(*map(one, requests))

    return asyncio.run(every())


def request(engine: Engine, text: str) -> GenerationRequest:
    return GenerationRequest(tuple(engine.tokenizer.encode(text)), 12, top_logprobs=2)


def test_answers_are_those_of_the_model_with_its_logprobs(llama: Engine, tiny_llama: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    # more than there are slots
    requests = [request(llama, text) for text in ("The quick", "Nopea", "素早い", "def fox(")]
    for asked, deltas in zip(requests, ask(llama, *requests), strict=True):
        new = [delta.token.id for delta in deltas]
        with torch.inference_mode():
            logits = model(torch.tensor([[*asked.prompt, *new]])).logits[0]
        rows = logits[len(asked.prompt) - 1 : -1].log_softmax(-1)
        chosen = rows.gather(-1, torch.tensor(new)[:, None])[:, 0]
        assert (rows.max(-1).values - chosen).max() < TIE
        assert [delta.token.logprob for delta in deltas] == pytest.approx(chosen.tolist(), abs=TIE)
        assert all(len(delta.token.top) == 2 for delta in deltas)
        assert deltas[-1].ending in ("length", "eos")


def test_a_seed_gives_the_same_answer_again(llama: Engine) -> None:
    asked = replace(request(llama, "The dog"), temperature=1.5, seed=7)
    [one], [other] = ask(llama, asked), ask(llama, replace(asked, seed=8))
    alone = [delta.token.id for delta in one]
    assert [[delta.token.id for delta in deltas] for deltas in ask(llama, asked, asked)] == [
        alone,
        alone,
    ]
    assert [delta.token.id for delta in other] != alone


def test_a_cancelled_answer_frees_its_slot(
    llama: Engine, slots_are_freed: Callable[[Engine], bool]
) -> None:
    async def leave() -> None:
        for _ in range(4):
            asked = replace(request(llama, "The"), max_new_tokens=100)
            async with aclosing(llama.generate(asked)) as deltas:
                await anext(deltas)

    asyncio.run(leave())
    assert slots_are_freed(llama)
    assert len(ask(llama, request(llama, "The"))[0]) > 0


def test_what_it_cannot_do_is_refused(llama: Engine) -> None:
    with pytest.raises(Unsuitable, match="`json_schema`"):
        ask(llama, replace(request(llama, "The"), json_schema="{}"))
