import json
import re

import httpx
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import ValidationError

from aurora_release.safety.guard import Verdict
from tests.serve.conftest import WordJudge

REFUSAL = "I cannot help with that."


@pytest.fixture
def client(server: str) -> InferenceClient:
    return InferenceClient(server)


def test_the_client_reads_text_details_and_streams(client):
    whole = client.text_generation("The dog", max_new_tokens=12)
    details = client.text_generation("The dog", max_new_tokens=12, details=True)
    streamed = list(client.text_generation("The dog", max_new_tokens=12, stream=True))
    events = list(client.text_generation("The dog", max_new_tokens=12, stream=True, details=True))
    assert whole == details.generated_text == "".join(streamed) == events[-1].generated_text
    assert details.details.finish_reason == events[-1].details.finish_reason == "length"
    assert details.details.generated_tokens == len(events) == 12
    assert [token.id for token in details.details.tokens] == [event.token.id for event in events]
    assert "".join(event.token.text for event in events) == whole


def test_the_client_chats(client):
    messages = [{"role": "user", "content": "The dog?"}]
    whole = client.chat_completion(messages, max_tokens=8, temperature=0)
    chunks = client.chat_completion(messages, max_tokens=8, temperature=0, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content


def test_a_stop_string_stays_in_the_text(client):
    whole = client.text_generation("The dog", max_new_tokens=60)
    stop = whole[8:11]
    details = client.text_generation("The dog", max_new_tokens=60, stop=[stop], details=True)
    assert details.generated_text == whole[: whole.index(stop) + 3]
    assert details.details.finish_reason == "stop_sequence"


def test_the_seed_is_told_and_repeats_the_answer(client):
    first = client.text_generation("The", max_new_tokens=20, do_sample=True, details=True)
    again = client.text_generation(
        "The", max_new_tokens=20, do_sample=True, seed=first.details.seed, details=True
    )
    assert again.generated_text == first.generated_text


def test_the_full_text_and_truncation(server):
    parameters = {"max_new_tokens": 4, "return_full_text": True}
    reply = httpx.post(f"{server}/generate", json={"inputs": "The", "parameters": parameters})
    assert reply.json()["generated_text"].startswith("The")
    long = {"inputs": "dog " * 400, "parameters": {"max_new_tokens": 4, "truncate": 8}}
    assert httpx.post(f"{server}/generate", json=long).status_code == 200
    long["inputs"] = "bomb " + long["inputs"]
    assert httpx.post(f"{server}/generate", json=long).json()["generated_text"] == REFUSAL


def test_what_truncation_leaves_is_judged_alone(start_server):
    """A guard may find nothing in a long text whose end alone it would block."""

    class Drowned(WordJudge):
        def judge(self, text, direction):
            return Verdict("allow", language="en") if "and" in text else super().judge(text, "")

    url, _ = start_server(guard=Drowned("bomb"))
    body = {"inputs": "and then a bomb", "parameters": {"max_new_tokens": 3}}
    assert "details" not in httpx.post(f"{url}/generate", json=body).json()
    body["parameters"]["truncate"] = 4
    assert httpx.post(f"{url}/generate", json=body).json()["details"]["safety"]["blocked"]


def test_a_blocked_prompt_is_refused_in_words_both_ways(client, server):
    assert client.text_generation("a bomb") == REFUSAL
    details = client.text_generation("a bomb", details=True)
    assert details.generated_text == REFUSAL
    assert details.details.finish_reason == "stop_sequence"
    [event] = client.text_generation("a bomb", stream=True, details=True)
    assert event.token.text == event.generated_text == REFUSAL
    assert event.details.finish_reason == "stop_sequence"
    raw = httpx.post(f"{server}/generate", json={"inputs": "a bomb"}).json()
    assert raw["details"]["safety"] == {"blocked": True, "category": "harm"}


def test_streams_have_tgis_form(server):
    body = {"inputs": "The", "parameters": {"max_new_tokens": 3, "top_n_tokens": 2}}
    reply = httpx.post(f"{server}/generate_stream", json=body)
    *events, end = reply.text.split("\n\n")
    assert end == ""
    assert all(event.startswith('data:{"index":') for event in events)
    parsed = [json.loads(event.removeprefix("data:")) for event in events]
    assert [event["index"] for event in parsed] == [1, 2, 3]
    assert all(len(event["top_tokens"]) == 2 for event in parsed)
    assert parsed[-1]["details"]["input_length"] == 1
    assert reply.headers["x-accel-buffering"] == "no"


def test_the_plain_address_answers_in_a_list(server):
    [reply] = httpx.post(server, json={"inputs": "The", "parameters": {"max_new_tokens": 2}}).json()
    assert set(reply) == {"generated_text"}


def test_the_best_of_several_comes_with_the_others_and_the_prompt(client):
    wanted = {"best_of": 3, "do_sample": True, "details": True, "max_new_tokens": 6}
    found = client.text_generation("The dog", decoder_input_details=True, **wanted)
    others = found.details.best_of_sequences
    assert len({found.generated_text, *(other.generated_text for other in others)}) == 3
    assert "".join(token.text for token in found.details.prefill) == "The dog"
    assert found.details.prefill[0].logprob is None and found.details.prefill[1].logprob < 0


@pytest.mark.parametrize(
    "wrong", [{"decoder_input_details": True}, {"best_of": 2, "do_sample": True}]
)
def test_what_tgi_does_not_stream_is_refused(server, wrong):
    reply = httpx.post(f"{server}/generate_stream", json={"inputs": "a", "parameters": wrong})
    assert reply.status_code == 422 and "when streaming tokens" in reply.json()["error"]


def test_too_many_to_choose_from_are_refused(client):
    with pytest.raises(ValidationError, match="`best_of` must be > 0 and <= 8"):
        client.text_generation("The", best_of=9, do_sample=True)


def test_answers_fit_a_grammar(client):
    found = client.text_generation("The", grammar={"type": "regex", "value": "[0-9]{4}"})
    assert re.fullmatch("[0-9]{4}", found)
    schema = {"type": "object", "properties": {"a": {"enum": ["b"]}}, "required": ["a"]}
    schema["additionalProperties"] = False
    found = client.text_generation("The", grammar={"type": "json", "value": schema})
    assert json.loads(found) == {"a": "b"}


def test_a_conversation_is_shown_as_the_model_reads_it(server):
    body = {"model": "x", "messages": [{"role": "user", "content": "The dog"}]}
    found = httpx.post(f"{server}/chat_tokenize", json=body).json()
    assert found["templated_text"].startswith("<|im_start|>user\nThe dog<|im_end|>")
    assert "".join(token["text"] for token in found["tokenize_response"]) == found["templated_text"]


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"max_new_tokens": -5}, "`max_new_tokens`: Input should be greater than or equal to 1"),
        ({"max_new_tokens": 0}, "greater than or equal to 1"),
        ({"max_new_tokens": 9999}, "`inputs` tokens + `max_new_tokens` must be <= 256"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"top_p": 1.0}, "less than 1"),
        ({"best_of": 2}, "you must use sampling"),
        ({"best_of": 2, "do_sample": True, "seed": 1}, "`seed` must not be set"),
        ({"watermark": True}, "does not support"),
        ({"grammar": {"type": "regex", "value": "(a"}}, "unclosed group"),
        ({"grammar": {"type": "xml", "value": "a"}}, "does not match"),
        ({"stop": list("abcde")}, "up to 4 stop sequences"),
    ],
)
def test_bad_values_get_tgis_error(server, client, parameters, reason):
    body = {"inputs": "The", "parameters": parameters}
    for path in ("/", "/generate", "/generate_stream"):
        reply = httpx.post(f"{server}{path}", json=body)
        assert reply.status_code == 422
        assert reply.json()["error_type"] == "validation"
        assert reply.json()["error"].startswith("Input validation error: ")
        assert reason in reply.json()["error"]
    if not {"temperature", "watermark", "best_of"} & set(parameters):
        with pytest.raises(ValidationError, match="Input validation error"):
            client.text_generation("The", **parameters)


def test_an_empty_prompt_is_an_error(client):
    with pytest.raises(ValidationError, match="`inputs` cannot be empty"):
        client.text_generation("")


def test_tokens_say_where_they_stand(server):
    text = "Nopea 狐"
    tokens = httpx.post(f"{server}/tokenize", json={"inputs": text}).json()
    assert tokens[0]["start"] == 0 and tokens[-1]["stop"] == len(text)
    assert all(token["text"] == text[token["start"] : token["stop"]] for token in tokens)


def test_a_text_too_long_to_be_listed_is_refused(server):
    for length, status in ((32 * 2048, 200), (32 * 2048 + 1, 422)):
        assert httpx.post(f"{server}/tokenize", json={"inputs": "a" * length}).status_code == status


def test_the_server_describes_itself(server):
    info = httpx.get(f"{server}/info").json()
    assert info["model_id"] == "tiny-llama"
    assert info["max_total_tokens"] == 256
    assert len(info["model_sha"]) == 64
