"""What the openai client can do: python with_openai.py URL."""

import asyncio
import json
import sys

from checks import report
from openai import AsyncOpenAI, BadRequestError, OpenAI

URL = f"{sys.argv[1]}/v1"
CLIENT = OpenAI(base_url=URL, api_key="none", max_retries=0, timeout=300)
USER = [{"role": "user", "content": "What is the capital of France?"}]
PLACE = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"enum": [1, 2, 3]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": PLACE}}


def chat(**options):
    """Ask for a short answer."""
    options = {"model": "x", "messages": USER, "max_completion_tokens": 24, "seed": 1, **options}
    return CLIENT.chat.completions.create(**options)


def whole():
    """chat.completions"""
    found = chat(temperature=0, logprobs=True, top_logprobs=2)
    assert found.choices[0].message.content and found.usage.completion_tokens
    assert len(found.choices[0].logprobs.content[0].top_logprobs) == 2


def streamed():
    """chat.completions, streamed with usage"""
    chunks = list(chat(temperature=0, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == chat(temperature=0).choices[0].message.content
    assert chunks[-1].usage.total_tokens


def asynchronous():
    """chat.completions, async and streamed"""

    async def read():
        async with AsyncOpenAI(base_url=URL, api_key="none", max_retries=0, timeout=300) as client:
            stream = await client.chat.completions.create(
                model="x", messages=USER, max_completion_tokens=8, stream=True
            )
            return [chunk async for chunk in stream]

    assert asyncio.run(read())[-1].choices[0].finish_reason


def several():
    """chat.completions with n, seed, stop, penalties, logit_bias"""
    options = {"n": 2, "stop": ["."], "frequency_penalty": 0.5, "presence_penalty": 0.5}
    first, second = (chat(logit_bias={"5": -100}, **options) for _ in range(2))
    texts = [[choice.message.content for choice in one.choices] for one in (first, second)]
    assert texts[0] == texts[1] and len(texts[0]) == 2 and "." not in "".join(texts[0])


def schema():
    """chat.completions with response_format json_schema"""
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": PLACE}}
    found = json.loads(
        chat(response_format=wanted, temperature=0, max_completion_tokens=200)
        .choices[0]
        .message.content
    )
    assert set(found) == {"city", "days"} and found["days"] in (1, 2, 3)


def any_json():
    """chat.completions with response_format json_object"""
    found = chat(response_format={"type": "json_object"}, temperature=0, max_completion_tokens=200)
    assert found.choices[0].message.content.lstrip().startswith("{")


def named():
    """chat.completions with a named tool, streamed"""
    choice = {"type": "function", "function": {"name": "weather"}}
    chunks = chat(
        tools=[TOOL], tool_choice=choice, stream=True, temperature=0, max_completion_tokens=200
    )
    parts = [part for chunk in chunks for part in chunk.choices[0].delta.tool_calls or ()]
    assert parts[0].function.name == "weather"
    assert json.loads("".join(part.function.arguments for part in parts))["days"]


def required():
    """chat.completions with tool_choice required, and the result in the next turn"""
    reply = chat(tools=[TOOL], tool_choice="required", parallel_tool_calls=False,
                 temperature=0, max_completion_tokens=200).choices[0]  # fmt: skip
    [call] = reply.message.tool_calls
    assert reply.finish_reason == "tool_calls" and json.loads(call.function.arguments)
    told = {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}
    answer = reply.message.model_dump(exclude_none=True)
    assert chat(messages=[*USER, answer, told], tools=[TOOL]).choices[0].finish_reason


def completions():
    """completions, several prompts, echo with logprobs"""
    asked = ["The capital of Finland is", "def add(a, b):"]
    found = CLIENT.completions.create(
        model="x", prompt=asked, max_tokens=4, temperature=0, echo=True, logprobs=1
    )
    for prompt, choice in zip(asked, found.choices, strict=True):
        assert choice.text.startswith(prompt)
    assert found.choices[0].logprobs.token_logprobs[0] is None


def models():
    """models.list and models.retrieve"""
    [model] = CLIENT.models.list().data
    assert CLIENT.models.retrieve(model.id).id == model.id


def moderations():
    """moderations.create"""
    first, second = CLIENT.moderations.create(input=["A cat sleeps.", "Water is wet."]).results
    assert first.categories.violence is False and second.category_scores.violence is not None


def errors():
    """typed errors"""
    try:
        chat(temperature=9)
    except BadRequestError as error:
        assert error.param == "temperature"
    else:
        raise AssertionError


report("openai", [whole, streamed, asynchronous, several, schema, any_json, named, required,
                  completions, models, moderations, errors])  # fmt: skip
