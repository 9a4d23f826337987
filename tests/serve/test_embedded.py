import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aurora_release.errors import AuroraError
from aurora_release.serve.engines.cache import CHUNK
from aurora_release.serve.engines.embedded import EmbeddedEngine, Limits, name
from aurora_release.serve.engines.protocol import (
    Delta,
    EngineError,
    GenerationRequest,
    Overloaded,
)

PROMPTS = ("The quick brown", "Nopea ruskea kettu", "素早い茶色の", "तेज़ भूरी", "def fox(", "x")

Start = Callable[..., EmbeddedEngine]


@pytest.fixture(params=["tiny_llama", "tiny_bigcode"])
def folder(request: pytest.FixtureRequest) -> Path:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Path)
    return found


def ask(engine: EmbeddedEngine, text: str, **options: object) -> GenerationRequest:
    ids = tuple(engine.tokenizer.encode(text))
    return replace(GenerationRequest(ids, max_new_tokens=24), **options)  # type: ignore[arg-type]


async def collect(engine: EmbeddedEngine, request: GenerationRequest) -> list[Delta]:
    return [delta async for delta in engine.generate(request)]


async def gather(engine: EmbeddedEngine, requests: list[GenerationRequest]) -> list[list[Delta]]:
    return await asyncio.gather(*(collect(engine, request) for request in requests))


def tokens(deltas: list[Delta]) -> list[int]:
    return [delta.token.id for delta in deltas]


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def test_greedy_answers_in_a_batch_are_those_of_generate(start_engine: Start, folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    # fewer slots than requests: rows are freed, moved and filled again on the way
    engine = start_engine(folder, Limits(slots=3))
    requests = [
        ask(engine, prompt, max_new_tokens=8 + 5 * place) for place, prompt in enumerate(PROMPTS)
    ]
    answers = asyncio.run(gather(engine, requests))
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    for request, deltas in zip(requests, answers, strict=True):
        prompt = torch.tensor([request.prompt])
        expected = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=request.max_new_tokens,
            do_sample=False,
        )[0, prompt.shape[1] :].tolist()
        assert tokens(deltas) == expected
        assert deltas[-1].ending == ("eos" if expected[-1] == 2 else "length")
        assert deltas[-1].generated_tokens == len(expected)


def test_a_prompt_of_many_chunks_is_answered_as_by_generate(
    start_engine: Start, folder: Path
) -> None:
    from transformers import AutoModelForCausalLM

    engine = start_engine(folder, Limits(slots=2))
    long = ask(engine, " ".join(PROMPTS) * 9, max_new_tokens=9)
    assert len(long.prompt) > CHUNK
    # the short one begins and ends while the long one is read, and frees the row before it
    short = ask(engine, "The dog", max_new_tokens=3)
    for deltas in asyncio.run(gather(engine, [short, long, short]))[1::2]:
        prompt = torch.tensor([long.prompt])
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        expected = model.generate(prompt, max_new_tokens=9, do_sample=False)
        assert tokens(deltas) == expected[0, prompt.shape[1] :].tolist()


def test_a_prompt_that_was_read_is_not_read_again_and_answers_stay_the_same(
    start_engine: Start, folder: Path
) -> None:
    engine = start_engine(folder, Limits(slots=3))
    read: list[int] = []
    engine._model.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    one = ask(engine, " ".join(PROMPTS) * 9, temperature=1.0, seed=5, top_logprobs=2)
    other = replace(one, prompt=(*one.prompt[: CHUNK + 5], *one.prompt[:9]))
    [fresh] = asyncio.run(gather(engine, [one]))
    assert sum(size for size in read if size > 1) == len(one.prompt)
    read.clear()
    [again] = asyncio.run(gather(engine, [one]))
    [turned] = asyncio.run(gather(engine, [other]))
    # of the same prompt all whole chunks are known, of the other one the first
    left = len(one.prompt) % CHUNK + len(other.prompt) - CHUNK
    assert sum(size for size in read if size > 1) == left
    assert [delta.token for delta in again] == [delta.token for delta in fresh]
    crowd = [replace(one, prompt=one.prompt[place : place + 150]) for place in range(1, 6)]
    asyncio.run(gather(engine, crowd))
    [alone] = asyncio.run(gather(engine, [other]))
    assert [delta.token.id for delta in alone] == [delta.token.id for delta in turned]


def test_what_was_read_for_one_owner_is_read_again_for_another(
    start_engine: Start, tiny_llama: Path
) -> None:
    engine = start_engine(tiny_llama, Limits(slots=3))
    read: list[int] = []
    engine._model.register_forward_pre_hook(
        lambda _, args, kwargs: read.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    one = ask(engine, " ".join(PROMPTS) * 9, owner="alice")
    scored = replace(one, owner="bob", prompt=one.prompt[::-1], prompt_logprobs=True)
    whole, rest = len(one.prompt), len(one.prompt) % CHUNK
    for request, size in (
        (one, whole),
        (one, rest),
        (replace(one, owner="bob"), whole),
        (replace(one, owner=""), whole),
        (one, rest),  # there are three rows
        (scored, whole),
        (replace(scored, prompt_logprobs=False), rest),
        (replace(scored, owner="alice", prompt_logprobs=False), whole),
    ):
        read.clear()
        asyncio.run(gather(engine, [request]))
        assert sum(each for each in read if each > 1) == size


def test_a_request_that_is_cancelled_while_it_is_read_gives_its_slot_back(
    start_engine: Start, tiny_llama: Path
) -> None:
    engine = start_engine(tiny_llama, Limits(slots=1))

    async def work() -> list[Delta]:
        reading = engine.generate(ask(engine, " ".join(PROMPTS) * 9))
        await asyncio.sleep(0)
        await reading.aclose()
        return [delta async for delta in engine.generate(ask(engine, "Con", max_new_tokens=3))]

    assert len(asyncio.run(work())) == 3


def test_a_seed_gives_the_same_answer_alone_and_in_a_batch(
    start_engine: Start, folder: Path
) -> None:
    engine = start_engine(folder)
    seeded = ask(engine, "The dog", temperature=1.3, top_p=0.95, top_k=200, seed=7)
    others = [ask(engine, prompt, temperature=1.0) for prompt in PROMPTS]
    [alone] = asyncio.run(gather(engine, [seeded]))
    first, *_, last = asyncio.run(gather(engine, [seeded, *others, seeded]))
    assert tokens(alone) == tokens(first) == tokens(last)
    [other] = asyncio.run(gather(engine, [replace(seeded, seed=8)]))
    assert tokens(other) != tokens(alone)


def test_streamed_text_has_whole_characters_only(start_engine: Start, tiny_llama: Path) -> None:
    engine = start_engine(tiny_llama)
    request = ask(engine, "素早い", temperature=2.0, seed=1, max_new_tokens=120)
    [deltas] = asyncio.run(gather(engine, [request]))
    decoded = engine.tokenizer.decode(tokens(deltas), skip_special_tokens=True)
    assert decoded.rstrip("\ufffd") == text(deltas)
    assert not any(delta.text.endswith("\ufffd") for delta in deltas)


@pytest.mark.parametrize("include", [False, True])
def test_a_stop_string_ends_the_answer_wherever_tokens_end(
    start_engine: Start, tiny_llama: Path, include: bool
) -> None:
    engine = start_engine(tiny_llama)
    whole = text(asyncio.run(gather(engine, [ask(engine, "The", max_new_tokens=60)]))[0])
    stop = whole[11:16]
    end = whole.index(stop)
    request = ask(engine, "The", max_new_tokens=60, stop=(stop, "never"), include_stop=include)
    [deltas] = asyncio.run(gather(engine, [request]))
    assert text(deltas) == whole[: end + len(stop) if include else end]
    assert deltas[-1].ending == "stop"


def test_logprobs_are_those_of_the_model(start_engine: Start, folder: Path) -> None:
    engine = start_engine(folder)
    request = ask(engine, "The", temperature=1.5, seed=3, top_logprobs=2, max_new_tokens=5)
    [deltas] = asyncio.run(gather(engine, [request]))
    ids = torch.tensor([[*request.prompt, *tokens(deltas)]])
    with torch.inference_mode():
        expected = engine._model(ids).logits[0].log_softmax(-1)[len(request.prompt) - 1 : -1]
    for delta, row in zip(deltas, expected, strict=True):
        assert delta.token.logprob == pytest.approx(float(row[delta.token.id]), abs=1e-4)
        assert [token.id for token in delta.token.top] == row.topk(2).indices.tolist()


def test_penalties_stop_repetition(start_engine: Start, tiny_llama: Path) -> None:
    engine = start_engine(tiny_llama)
    request = ask(engine, "The dog", max_new_tokens=60)
    penalized = replace(request, presence_penalty=2.0, frequency_penalty=2.0)
    repeated = replace(request, repetition_penalty=5.0)
    plain, *others = asyncio.run(gather(engine, [request, penalized, repeated]))
    for other in others:
        assert len(set(tokens(other))) > len(set(tokens(plain)))


def test_closing_a_stream_frees_its_slot_for_the_next(
    start_engine: Start, tiny_llama: Path
) -> None:
    engine = start_engine(tiny_llama, Limits(slots=1, queue=1))

    async def work() -> list[Delta]:
        endless = engine.generate(ask(engine, "The", max_new_tokens=10_000))
        await anext(endless)
        queued = engine.generate(ask(engine, "Con", max_new_tokens=3))
        with pytest.raises(Overloaded, match="1 requests are waiting"):
            engine.generate(ask(engine, "def"))
        await endless.aclose()
        return [delta async for delta in queued]

    assert len(asyncio.run(work())) == 3
    assert engine.stats().waiting == 0


def test_who_comes_while_slots_are_free_is_not_refused_for_a_full_queue(
    start_engine: Start, tiny_llama: Path
) -> None:
    engine = start_engine(tiny_llama, Limits(slots=4, queue=0))
    requests = [ask(engine, "The dog", max_new_tokens=3) for _ in range(4)]
    assert [len(answer) for answer in asyncio.run(gather(engine, requests))] == [3] * 4


def test_the_answer_ends_where_the_model_is_full(start_engine: Start, tiny_llama: Path) -> None:
    engine = start_engine(tiny_llama)
    request = ask(engine, "The", max_new_tokens=10_000, temperature=1.0, seed=2, stop=())
    [deltas] = asyncio.run(gather(engine, [request]))
    assert len(request.prompt) + len(deltas) <= engine.facts.max_total_tokens
    assert deltas[-1].ending in ("length", "eos")


def test_a_failing_model_fails_its_requests_and_the_next_ones(
    start_engine: Start, tiny_llama: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = start_engine(tiny_llama)

    async def work() -> None:
        stream = engine.generate(ask(engine, "The", max_new_tokens=10_000))
        await anext(stream)
        engine._model.model.norm.weight.data = torch.ones(3)
        with pytest.raises(EngineError, match="The engine failed"):
            async for _ in stream:
                pass
        with pytest.raises(EngineError, match="not running"):
            engine.generate(ask(engine, "The"))

    asyncio.run(work())
    assert not engine.stats().ready
    assert "The engine failed." in caplog.text


def test_stopping_fails_what_is_still_running(start_engine: Start, tiny_llama: Path) -> None:
    engine = start_engine(tiny_llama)

    async def work() -> None:
        stream = engine.generate(ask(engine, "The", max_new_tokens=10_000))
        await anext(stream)
        await asyncio.to_thread(engine.stop)
        with pytest.raises(EngineError, match="shutting down"):
            async for _ in stream:
                pass

    asyncio.run(work())


def test_load_reads_a_model_folder(tiny_llama: Path) -> None:
    engine = EmbeddedEngine.load(tiny_llama, Limits(max_total_tokens=10_000))
    assert engine.facts.id == "tiny-llama"
    assert engine.facts.max_total_tokens == 512
    assert len(engine.facts.digest) == 64


def test_a_model_is_named_after_its_run_only_where_it_lies_in_one(tmp_path: Path) -> None:
    for stage in ("aino/cat", "runs/base", "runs/cat"):
        (tmp_path / stage).mkdir(parents=True)
        (tmp_path / stage / "evidence.json").touch()
    assert name(tmp_path / "aino/cat") == "cat"
    assert name(tmp_path / "runs/cat") == "runs/cat"


def test_load_names_the_next_step_for_gguf(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(AuroraError, match="llama-server -m"):
        EmbeddedEngine.load(tmp_path)
