"""Whatever generates: the same request, with the same seed, gets the same answer."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from aurora_release.serve.engines.choose import Choice, open_engine
from aurora_release.serve.engines.protocol import Delta, Engine, GenerationRequest
from aurora_release.serve.settings import Settings
from tests.serve.conftest import WordJudge, make_engine, serving


@pytest.fixture(scope="module")
def embedded(tiny_llama: Path) -> Iterator[Engine]:
    engine = make_engine(tiny_llama)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def upstream(tiny_llama: Path) -> Iterator[tuple[str, Engine]]:
    engine = make_engine(tiny_llama)
    settings = Settings(chat_page=False)
    with serving(engine, WordJudge(), settings) as url:
        yield url, engine


@pytest.fixture(scope="module", params=["openai", "tgi"])
def remote(
    request: pytest.FixtureRequest, upstream: tuple[str, Engine], tiny_llama: Path
) -> Iterator[Engine]:
    engine = open_engine(tiny_llama, Choice(request.param, (upstream[0],)))
    engine.start()
    yield engine
    engine.stop()


def ask(engine: Engine, text: str, **options: object) -> GenerationRequest:
    ids = tuple(engine.tokenizer.encode(text))
    return replace(GenerationRequest(ids, max_new_tokens=24), **options)  # type: ignore[arg-type]


def answers(engine: Engine, *requests: GenerationRequest) -> list[list[Delta]]:
    async def one(request: GenerationRequest) -> list[Delta]:
        return [delta async for delta in engine.generate(request)]

    async def every() -> list[list[Delta]]:
        return await asyncio.gather(*map(one, requests))

    return asyncio.run(every())


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


REQUESTS: dict[str, dict[str, object]] = {
    "greedy": {},
    "seeded": {"temperature": 1.1, "top_p": 0.9, "top_k": 50, "seed": 7},
    "penalties": {"repetition_penalty": 1.3, "frequency_penalty": 0.5},
    "one token": {"max_new_tokens": 1},
    "long": {"max_new_tokens": 120, "temperature": 1.5, "seed": 3},
}


@pytest.mark.parametrize("options", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("prompt", ["The quick brown", "素早い"])
def test_the_answer_is_that_of_the_embedded_engine(
    embedded: Engine, remote: Engine, prompt: str, options: dict[str, object]
) -> None:
    [expected] = answers(embedded, ask(embedded, prompt, **options))
    [found] = answers(remote, ask(remote, prompt, **options))
    assert text(found) == text(expected)
    assert found[-1].ending == expected[-1].ending
    assert {delta.ending for delta in found[:-1]} <= {None}


@pytest.mark.parametrize("include", [False, True])
def test_stop_strings_end_it_in_the_same_place(
    embedded: Engine, remote: Engine, include: bool
) -> None:
    whole = text(answers(embedded, ask(embedded, "The", max_new_tokens=60))[0])
    options = {"max_new_tokens": 60, "stop": (whole[11:16], "never"), "include_stop": include}
    [expected] = answers(embedded, ask(embedded, "The", **options))
    [found] = answers(remote, ask(remote, "The", **options))
    assert text(found) == text(expected)
    assert found[-1].ending == "stop"


def test_tokens_come_with_their_logprobs(embedded: Engine, remote: Engine) -> None:
    options = {"top_logprobs": 2, "max_new_tokens": 8}
    [expected] = answers(embedded, ask(embedded, "The quick", **options))
    [found] = answers(remote, ask(remote, "The quick", **options))
    known = {delta.token.text: delta.token for delta in expected if delta.text}
    compared = [delta.token for delta in found if delta.token.text in known]
    assert compared
    for token in compared:
        assert token.logprob == pytest.approx(known[token.text].logprob, abs=1e-4)
        best = [other.logprob for other in known[token.text].top]
        assert [other.logprob for other in token.top] == pytest.approx(best, abs=1e-4)


def test_many_at_once_get_their_own_answers(embedded: Engine, remote: Engine) -> None:
    prompts = ["The", "Nopea", "def fox(", "x", "Con cáo", "तेज़", "The dog", "a", "b", "c"]
    expected = answers(embedded, *(ask(embedded, prompt) for prompt in prompts))
    found = answers(remote, *(ask(remote, prompt) for prompt in prompts))
    assert list(map(text, found)) == list(map(text, expected))


def test_a_cancelled_answer_frees_the_slot_at_the_other_end(
    remote: Engine, upstream: tuple[str, Engine], slots_are_freed: Callable[[Engine], bool]
) -> None:
    async def leave() -> None:
        async with aclosing(remote.generate(ask(remote, "The", max_new_tokens=200))) as deltas:
            await anext(deltas)

    asyncio.run(leave())
    assert slots_are_freed(remote)
    assert slots_are_freed(upstream[1])
