import json
import time
from pathlib import Path

import httpx
import openai
import pytest
import torch
from openai import OpenAI
from transformers import AutoModelForCausalLM, AutoTokenizer

from aurora_release.safety.guard import Verdict
from aurora_release.serve.engines.protocol import Token
from aurora_release.serve.generation import Piece
from aurora_release.serve.openai_replies import Head, TextReply
from tests.serve.conftest import WordJudge

REFUSAL = "I cannot help with that."
USER = [{"role": "user", "content": "The quick brown fox?"}]


def schema(of: dict) -> dict:
    """Return the response format of a schema."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": of}}


@pytest.fixture
def client(server: str):
    with OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        yield client


def chat(client: OpenAI, **options):
    return client.chat.completions.create(
        **{"model": "x", "messages": USER, "max_completion_tokens": 12, "temperature": 0, **options}
    )


def test_a_stream_says_what_the_whole_answer_says(client):
    whole = chat(client)
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert streamed == whole.choices[0].message.content != ""
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[-1].usage == whole.usage
    assert whole.usage.completion_tokens == 12
    assert whole.choices[0].finish_reason == "length"


def test_completions_continue_every_prompt_n_times(client):
    options = {"model": "x", "prompt": ["The dog", "Con"], "n": 2, "max_tokens": 5, "seed": 3}
    whole = client.completions.create(**options)
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    texts = [""] * 4
    for chunk in client.completions.create(**options, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in whole.choices]
    assert texts[0] != texts[1]


def test_a_seed_repeats_an_answer(client):
    first, second, other = (
        chat(client, temperature=1.5, seed=seed).choices[0].message.content for seed in (1, 1, 2)
    )
    assert first == second != other


def test_a_stop_string_is_left_out_and_ends_the_answer(client):
    whole = chat(client, max_completion_tokens=60).choices[0].message.content
    answer = chat(client, max_completion_tokens=60, stop=whole[9:12]).choices[0]
    assert answer.message.content == whole[: whole.index(whole[9:12])]
    assert answer.finish_reason == "stop"


def test_logprobs_belong_to_the_text(client):
    choice = chat(client, logprobs=True, top_logprobs=2).choices[0]
    tokens = choice.logprobs.content
    assert "".join(token.token for token in tokens) == choice.message.content
    assert all(len(token.top_logprobs) == 2 and token.logprob <= 0 for token in tokens)
    completion = client.completions.create(model="x", prompt="The", max_tokens=4, logprobs=1)
    assert "".join(completion.choices[0].logprobs.tokens) == completion.choices[0].text


def test_models_are_listed(client):
    [model] = client.models.list().data
    assert model.id == "tiny-llama"
    assert client.models.retrieve("tiny-llama").id == "tiny-llama"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [1, 2])
def test_a_blocked_prompt_is_answered_with_the_refusal(client, stream, n):
    reply = chat(client, messages=[{"role": "user", "content": "a bomb"}], stream=stream, n=n)
    texts, reasons = [""] * n, [None] * n
    for part in reply if stream else [reply]:
        for choice in part.choices:
            said = choice.delta if stream else choice.message
            texts[choice.index] += said.content or ""
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [REFUSAL] * n
    assert reasons == ["content_filter"] * n


def test_earlier_turns_are_judged_too(client):
    messages = [{"role": "user", "content": "a bomb"}, {"role": "assistant", "content": "?"}, *USER]
    assert chat(client, messages=messages).choices[0].finish_reason == "content_filter"


def test_what_the_filter_blocks_never_leaves(start_server, slots_are_freed):
    url, engine = start_server()
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        whole = chat(client, max_completion_tokens=100).choices[0].message.content
    secret = whole[len(whole) // 2 :][:6]
    url, engine = start_server(secret)
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        answer = chat(client, max_completion_tokens=100).choices[0]
        chunks = list(chat(client, max_completion_tokens=100, stream=True, logprobs=True))
    assert answer.message.content == REFUSAL
    assert answer.finish_reason == chunks[-1].choices[0].finish_reason == "content_filter"
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    before, _, refusal = streamed.rpartition(REFUSAL)
    assert refusal == "" and secret not in streamed
    assert whole.startswith(before.removesuffix("\n\n"))
    shown = "".join(
        token.token
        for chunk in chunks
        for token in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else ())
    )
    assert shown == before.removesuffix("\n\n")
    assert slots_are_freed(engine)


@pytest.mark.parametrize(
    ("options", "param", "reason"),
    [
        ({"max_tokens": -5}, "max_tokens", "greater than or equal to 1 (it is -5)"),
        ({"max_tokens": 100_000}, "max_tokens", "must be <= 256"),
        ({"temperature": 3}, "temperature", "less than or equal to 2"),
        ({"temperature": "hot"}, "temperature", "valid number"),
        ({"n": 9}, "n", "At most 8 answers"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "At most 4"),
        ({"tools": [{"type": "function"}]}, "tools", "Field required"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools", "pattern"),
        ({"functions": [{"name": "a"}]}, "functions", "does not support"),
        ({"tool_choice": "required"}, "tool_choice", "needs `tools`"),
        ({"response_format": {"type": "xml"}}, "response_format", "does not match"),
        ({"response_format": schema({"type": "strin"})}, None, "Invalid type: strin"),
        ({"response_format": schema({"enum": ["a" * 40_000]})}, None, "at most 32768"),
        ({"logit_bias": {"512": 1}}, "logit_bias", "from 0 to 490"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "pattern"),
        ({"messages": [{"role": "user"}]}, "messages", "without content"),
        ({"messages": [{"role": "tool", "content": "1"}]}, "messages", "tool_call_id"),
        ({"max_tokens": 999}, "max_tokens", "`messages` tokens + `max_tokens` must be <= 256"),
        ({"top_logprobs": 2}, "top_logprobs", "needs `logprobs`"),
        ({"colour": 1}, "colour", "Unrecognized request argument"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": [{"role": "user", "content": "a<|im_end|>"}]}, "messages", "control token"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages", "surrogate"),
        ({"messages": [{"role": "user", "content": "a " * 400}]}, "messages", "less than 256"),
    ],
)
def test_bad_values_get_openais_error(server, options, param, reason):
    body = {"model": "x", "messages": USER, **options}
    headers = {"content-type": "application/json"}
    reply = httpx.post(f"{server}/v1/chat/completions", content=json.dumps(body), headers=headers)
    error = reply.json()["error"]
    assert reply.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert reason in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_the_client_raises_its_own_error_for_a_negative_length(client):
    with pytest.raises(openai.BadRequestError, match="max_completion_tokens"):
        chat(client, max_completion_tokens=-1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"messages": [}', "not valid JSON: Expecting value (character 14)"),
        (b"[]", "be a JSON object"),
        (b"", "be a JSON object"),
        (b'{"messages": [{"role": "usr", "content": "a"}]}', "`messages[0].role`: "),
        (b'{"messages": [{"content": "a"}]}', "`messages[0].role`: Field required"),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "text", "txt": "a"}]}]}',
            "supplied: messages[0].content[0].txt; did you mean text?",
        ),
    ],
)
def test_bad_bodies_get_openais_error_with_the_place(server, content, reason):
    headers = {"content-type": "application/json"}
    reply = httpx.post(f"{server}/v1/chat/completions", content=content, headers=headers)
    assert reply.status_code == 400
    assert reason in reply.json()["error"]["message"]


def test_unknown_paths_and_methods_get_openais_error(server):
    assert httpx.get(f"{server}/v1/nothing").json()["error"]["type"] == "invalid_request_error"
    wrong = httpx.get(f"{server}/v1/completions")
    assert wrong.status_code == 405 and "message" in wrong.json()["error"]
    assert wrong.headers["allow"] == "POST"
    # TGI's `/` is asked with POST, and its health with GET
    assert httpx.options(f"{server}/").headers["allow"] == "GET, POST"


def test_streams_end_with_done_and_are_not_buffered_by_proxies(server):
    body = {"model": "x", "messages": USER, "max_tokens": 3, "stream": True}
    reply = httpx.post(f"{server}/v1/chat/completions", json=body)
    assert reply.headers["x-accel-buffering"] == "no"
    assert reply.headers["content-type"].startswith("text/event-stream")
    events = reply.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert all(event.startswith("data: {") for event in events[:-2])


def scored(folder: Path, ids: list[int]) -> list[float]:
    """Return the log-probability of every token but the first, by the model itself."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    return [float(scores[place, token]) for place, token in enumerate(ids[1:])]


@pytest.mark.parametrize("max_tokens", [0, 1, 3])
def test_echo_scores_the_prompt(client, tiny_llama, max_tokens):
    texts = ["The quick brown fox", "素早い茶色の狐"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    ids = [tokenizer(text)["input_ids"] for text in texts]
    found = client.completions.create(
        model="x", prompt=ids, max_tokens=max_tokens, temperature=0, echo=True, logprobs=1
    )
    for choice, text, prompt in zip(found.choices, texts, ids, strict=True):
        assert choice.text.startswith(text)
        assert max_tokens or choice.text == text
        listed = choice.logprobs
        assert len(listed.token_logprobs) == len(prompt) + max_tokens
        assert listed.token_logprobs[0] is listed.top_logprobs[0] is None
        mine = listed.token_logprobs[1 : len(prompt)]
        assert mine == pytest.approx(scored(tiny_llama, prompt), abs=1e-4)
        for logprob, top in zip(mine, listed.top_logprobs[1:], strict=False):
            assert max(top.values()) >= logprob
    assert found.usage.completion_tokens == 2 * max_tokens
    assert found.usage.prompt_tokens == sum(map(len, ids))


def test_echo_without_logprobs_is_the_text(client):
    found = client.completions.create(model="x", prompt="The dog", max_tokens=2, echo=True)
    assert found.choices[0].text.startswith("The dog")
    assert found.choices[0].logprobs is None


def test_a_blocked_prompt_is_not_echoed(client):
    found = client.completions.create(
        model="x", prompt="a bomb", max_tokens=1, echo=True, logprobs=1
    )
    [choice] = found.choices
    assert (choice.text, choice.finish_reason) == (REFUSAL, "content_filter")
    assert choice.logprobs.tokens == []


@pytest.mark.parametrize("max_tokens", [0, 3])
def test_an_echo_is_streamed_before_the_answer(client, max_tokens):
    options = {"model": "x", "prompt": "The dog", "max_tokens": max_tokens, "temperature": 0}
    options |= {"echo": True, "logprobs": 1, "n": 2}
    whole = client.completions.create(**options)
    texts, offsets = ["", ""], [[], []]
    for chunk in client.completions.create(**options, stream=True):
        [choice] = chunk.choices
        texts[choice.index] += choice.text
        if choice.logprobs:
            offsets[choice.index] += choice.logprobs.text_offset
    assert texts == [choice.text for choice in whole.choices]
    assert offsets == [choice.logprobs.text_offset for choice in whole.choices]


def test_the_likeliest_of_several_answers_come_back(client):
    options = {"model": "x", "prompt": "The", "max_tokens": 6, "seed": 5}
    every = client.completions.create(**options, n=4).choices
    best = client.completions.create(**options, n=2, best_of=4)
    assert {choice.text for choice in best.choices} < {choice.text for choice in every}
    assert [choice.index for choice in best.choices] == [0, 1]
    assert best.usage.completion_tokens == 24


def test_the_likeliest_come_first_and_a_blocked_one_last():
    reply = TextReply(Head("x", 0, "x", "x", 1), 3, None)
    reply.keep(2, 3)
    verdict = Verdict("block", "harm")
    for index, logprob, blocked in ((0, 0.0, verdict), (1, -2.0, None), (2, -1.0, None)):
        token = Token(1, "a", logprob, False)
        reply.add(Piece(index, str(index), (token,), "eos", 1, blocked))
    assert [choice["text"] for choice in reply.whole()["choices"]] == ["2", "1"]


def test_nothing_is_judged_for_a_client_that_left(start_server):
    judged = []

    class Slow(WordJudge):
        def judge(self, text, direction):
            judged.append(text)
            time.sleep(0.05)
            return super().judge(text, direction)

    url, _ = start_server(guard=Slow())
    with pytest.raises(httpx.ReadTimeout):
        texts = [f"fox {number}" for number in range(64)]
        httpx.post(f"{url}/v1/moderations", json={"input": texts}, timeout=0.3)
    time.sleep(0.3)
    before = len(judged)
    time.sleep(0.3)
    assert 0 < before == len(judged) < 64


def test_the_filter_answers_as_openais_moderation(client, server):
    [fine] = client.moderations.create(input="a fox").results
    first, second = client.moderations.create(input=["a fox", "a bomb"]).results
    assert (fine.flagged, first.flagged, second.flagged) == (False, False, True)
    assert second.categories.violence and not second.categories.hate
    assert second.category_scores.violence == 1.0
    parts = [{"type": "text", "text": "a bomb"}]
    assert client.moderations.create(input=parts).results[0].flagged
    picture = [{"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(openai.BadRequestError):
        client.moderations.create(input=picture)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokens": 0},
        {"best_of": 1, "n": 2},
        {"best_of": 2, "stream": True},
        {"suffix": "a"},
        {"suffix": "a", "echo": True},
    ],
)
def test_what_echo_cannot_do_is_refused(client, wrong):
    with pytest.raises(openai.BadRequestError):
        client.completions.create(**{"model": "x", "prompt": "a", "max_tokens": 1, **wrong})
