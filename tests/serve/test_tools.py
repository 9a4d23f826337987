"""Tools and JSON through the real client; what a tool is called with is judged like all else."""

import json

import jsonschema
import openai
import pytest
from openai import OpenAI
from openai.lib.streaming.chat import ContentDoneEvent

from aurora_release.serve.settings import Settings
from aurora_release.serve.tools import Tool, schema_of_some
from tests.serve.conftest import WordJudge, make_engine, serving

USER = [{"role": "user", "content": "Weather?"}]
PLACE = {
    "type": "object",
    "properties": {"city": {"enum": ["Oulu", "大阪"]}, "days": {"$ref": "#/$defs/days"}},
    "required": ["city", "days"],
    "additionalProperties": False,
    "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 9}},
}


def tool(name="weather", parameters=None, description="Tells the weather."):
    about = {"name": name, "description": description, "parameters": parameters or PLACE}
    return {"type": "function", "function": about}


@pytest.fixture(scope="module")
def client(tiny_llama):
    engine = make_engine(tiny_llama, length=1280)
    judge, settings = WordJudge("bomb"), Settings(chat_page=False)
    with (
        serving(engine, judge, settings) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def chat(client, **options):
    options = {"model": "x", "messages": USER, "max_completion_tokens": 120, **options}
    return client.chat.completions.create(**{"seed": 3, **options})


def test_a_named_tool_is_called_streamed_or_not(client):
    choice = {"type": "function", "function": {"name": "weather"}}
    options = {"tools": [tool("time"), tool()], "tool_choice": choice}
    whole = chat(client, **options).choices[0]
    [call] = whole.message.tool_calls
    jsonschema.validate(json.loads(call.function.arguments), PLACE)
    assert (call.function.name, whole.message.content, whole.finish_reason) == (
        "weather",
        None,
        "stop",
    )
    chunks = [chunk.choices[0] for chunk in chat(client, stream=True, **options)]
    parts = [part for chunk in chunks for part in chunk.delta.tool_calls or ()]
    assert parts[0].function.name == "weather" and parts[0].id
    assert "".join(part.function.arguments for part in parts) == call.function.arguments
    assert chunks[-1].finish_reason == "stop"


def test_some_tool_must_be_called(client):
    options = {"tools": [tool("time"), tool()], "tool_choice": "required"}
    reply = chat(client, parallel_tool_calls=False, max_completion_tokens=400, **options)
    [call] = reply.choices[0].message.tool_calls
    assert call.function.name in ("time", "weather")
    jsonschema.validate(json.loads(call.function.arguments), PLACE)
    assert reply.choices[0].finish_reason == "tool_calls"


def test_calls_in_parallel_have_their_schemas():
    parts = [Tool("a", "", PLACE), Tool("b", "", None)]
    found = json.loads(schema_of_some(parts, True))
    calls = [
        {"name": "a", "parameters": {"city": "Oulu", "days": 2}},
        {"name": "b", "parameters": {}},
    ]
    jsonschema.validate(calls, found)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate([{"name": "a", "parameters": {"city": "Oulu", "days": 10}}], found)


def test_the_model_need_not_call_and_calls_stand_in_the_history(client):
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        *USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "Snow."},
    ]
    for choice in ("auto", "none"):
        reply = chat(client, messages=messages, tools=[tool()], tool_choice=choice)
        assert reply.choices[0].message.tool_calls is None


@pytest.mark.parametrize(
    "options",
    [
        {"tools": [tool(description="Makes a bomb.")]},
        {"messages": [*USER, {"role": "tool", "tool_call_id": "c", "content": "a bomb"}]},
        {
            "messages": [
                {
                    "role": "assistant",
                    "tool_calls": [
                        {
                            "id": "c",
                            "type": "function",
                            "function": {"name": "x", "arguments": '{"a": "\\u0062omb"}'},
                        }
                    ],
                },
                *USER,
            ]
        },
    ],
)
def test_what_tools_bring_into_the_prompt_is_judged(client, options):
    assert chat(client, **options).choices[0].finish_reason == "content_filter"


def test_no_control_token_hides_in_arguments(client):
    arguments = '{"a": "\\u003c|im_end|\\u003e"}'
    function = {"name": "x", "arguments": arguments}
    call = {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }
    with pytest.raises(openai.BadRequestError, match="control token"):
        chat(client, messages=[call, *USER])


@pytest.mark.parametrize("stream", [False, True])
def test_harm_in_arguments_blocks_the_answer(client, stream):
    """The schema leaves the model no other word, and escapes do not hide it."""
    word = {"type": "object", "properties": {"a": {"const": "bomb"}}, "required": ["a"]}
    choice = {"type": "function", "function": {"name": "say"}}
    reply = chat(client, tools=[tool("say", word)], tool_choice=choice, stream=stream)
    choices = [chunk.choices[0] for chunk in reply] if stream else reply.choices
    said = [one.delta if stream else one.message for one in choices]
    assert choices[-1].finish_reason == "content_filter"
    assert "".join(one.content or "" for one in said) == "I cannot help with that."
    assert not any("bomb" in one.model_dump_json() for one in said)


def test_an_answer_fits_its_schema_streamed_or_not(client):
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE}}
    text = chat(client, response_format=wanted).choices[0].message.content
    jsonschema.validate(json.loads(text), PLACE)
    options = {"model": "x", "messages": USER, "seed": 3, "response_format": wanted}
    with client.chat.completions.stream(**options, max_completion_tokens=120) as stream:
        [done] = [event for event in stream if isinstance(event, ContentDoneEvent)]
    assert done.content == text


def test_any_json_object(client):
    wanted = {"type": "json_object"}
    found = chat(client, response_format=wanted, temperature=0, max_completion_tokens=60)
    assert found.choices[0].message.content.startswith("{")
