"""Answers that must fit a schema or an expression do, at any temperature, with random weights."""

import asyncio
import json
import re

import jsonschema
import pytest

from aurora_release.serve.engines.grammar import Grammar
from aurora_release.serve.engines.protocol import EngineError, GenerationRequest, Unsuitable
from tests.serve.conftest import make_engine

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "likes": {"type": "array", "items": {"enum": ["fox", "犬", "koira"]}, "maxItems": 3},
    },
    "required": ["name", "age", "likes"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine(tiny_llama):
    engine = make_engine(tiny_llama)
    engine.start()
    yield engine
    engine.stop()


async def answer(engine, **options):
    request = GenerationRequest(prompt=(5, 6), max_new_tokens=200, temperature=1.0, **options)
    deltas = [delta async for delta in engine.generate(request)]
    return "".join(delta.text for delta in deltas), deltas[-1].ending


@pytest.mark.parametrize("seed", range(3))
def test_json_fits_its_schema(engine, seed):
    text, ending = asyncio.run(answer(engine, json_schema=json.dumps(PERSON), seed=seed))
    jsonschema.validate(json.loads(text), PERSON)
    assert ending == "eos"


@pytest.mark.parametrize("pattern", ["[0-9]{3}-[0-9]{4}", "(fox|犬){2,5}", "a|"])
def test_text_matches_its_expression(engine, pattern):
    text, ending = asyncio.run(answer(engine, regex=pattern, seed=1))
    assert re.fullmatch(pattern, text) and ending == "eos"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"regex": "(a"}, "unclosed group"),
        ({"regex": "a" * 40_000}, "at most 32768"),
        ({"json_schema": '{"type": "strin"}'}, "Invalid type: strin"),
        ({"json_schema": '{"$ref": "http://127.0.0.1/x"}'}, "not present"),
        ({"json_schema": "{"}, "cannot be read"),
        ({"json_schema": "false"}, "cannot be read"),
    ],
)
def test_what_does_not_compile_is_refused_with_the_reason(engine, options, reason):
    with pytest.raises(Unsuitable, match=reason):
        asyncio.run(answer(engine, **options))


def test_a_grammar_that_fails_on_the_way_ends_its_own_request_only(engine, monkeypatch):
    async def both():
        with monkeypatch.context() as patch, pytest.raises(EngineError, match="too large"):
            # no expression was found that grows past llguidance's limits in an answer this short
            patch.setattr(Grammar, "allow", lambda *_: fail())
            await answer(engine, regex="ab", seed=1)
        return await answer(engine, regex="ab")

    def fail():
        raise Unsuitable("The grammar grew too large")

    assert asyncio.run(both())[0] == "ab"


def test_a_bias_bans_a_token_or_leaves_no_other(engine):
    def ids(**options):
        async def read():
            request = GenerationRequest(prompt=(5,), max_new_tokens=8, **options)
            return [delta.token.id async for delta in engine.generate(request)]

        return asyncio.run(read())

    free = ids()
    assert free[0] not in ids(logit_bias=((free[0], -100.0),))
    assert ids(logit_bias=((77, 100.0),)) == [77] * 8


@pytest.mark.parametrize("options", [{"typical_p": 1e-300}, {"top_p": 1e-300}, {"min_p": 1.0}])
def test_the_narrowest_sampling_leaves_one_token(engine, options):
    def text(seed):
        return asyncio.run(answer(engine, seed=seed, **options))[0]

    assert text(1) == text(2)
    assert text(1) != asyncio.run(answer(engine, seed=1))[0]


def test_the_coldest_temperature_takes_the_likeliest(engine):
    async def ids(temperature):
        request = GenerationRequest((5, 6), 8, temperature=temperature)
        return [delta.token.id async for delta in engine.generate(request)]

    assert asyncio.run(ids(1e-300)) == asyncio.run(ids(0))
