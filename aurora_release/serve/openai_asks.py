"""What an OpenAI request asks of the engine: how to sample, in which form, with which prompt."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aurora_release.serve.channels import Form
from aurora_release.serve.engines.protocol import GenerationRequest, ModelFacts
from aurora_release.serve.prompts import Message
from aurora_release.serve.replies import ApiError
from aurora_release.serve.schemas_openai import (
    ChatMessage,
    ChatRequest,
    Common,
    CompletionRequest,
    NamedTool,
    SchemaFormat,
)
from aurora_release.serve.tools import Call, Tool, schema_of_one, schema_of_some

_ANY_OBJECT = '{"type": "object"}'


def sampling(asked: Common, facts: ModelFacts) -> GenerationRequest:
    """Return how to generate; prompt and length are filled in later."""
    biases = [(int(number), bias) for number, bias in (asked.logit_bias or {}).items()]
    if any(number >= facts.vocabulary for number, _ in biases):
        raise ApiError(
            "invalid", f"`logit_bias`: token ids go from 0 to {facts.vocabulary - 1}", "logit_bias"
        )
    return GenerationRequest(
        prompt=(),
        max_new_tokens=0,
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=asked.top_p or 1.0,
        top_k=max(asked.top_k or 0, 0),
        min_p=asked.min_p or 0.0,
        repetition_penalty=asked.repetition_penalty or 1.0,
        frequency_penalty=asked.frequency_penalty or 0.0,
        presence_penalty=asked.presence_penalty or 0.0,
        logit_bias=tuple(biases),
        stop=asked.stop_strings,
        owner=asked.cache_salt or "",
    )


def messages(turns: Sequence[ChatMessage]) -> list[Message]:
    """Return the conversation, with the calls that were made in it."""
    return [
        Message(
            turn.role.replace("developer", "system"),
            turn.text,
            tuple(
                Call(call.function.name, _plain(call.function.arguments))
                for call in turn.tool_calls or ()
            ),
        )
        for turn in turns
    ]


def tools(asked: ChatRequest) -> tuple[Tool, ...]:
    """Return the tools that the model is told of: none where it may not call any."""
    if not asked.tools and asked.tool_choice not in (None, "none", "auto"):
        raise ApiError("invalid", "`tool_choice` needs `tools`", "tool_choice")
    if asked.tool_choice == "none":
        return ()
    known = [tool.function for tool in asked.tools or ()]
    return tuple(Tool(tool.name, tool.description or "", tool.parameters) for tool in known)


def in_form(
    request: GenerationRequest, asked: ChatRequest, known: Sequence[Tool], thinks: bool
) -> tuple[GenerationRequest, Form]:
    """Return a request whose answer has the form that is asked for, and that form."""
    names, choice = tuple(tool.name for tool in known), asked.tool_choice
    schema = _format(asked)
    if schema is not None:
        if known:
            raise ApiError(
                "invalid", "`response_format` and `tools` cannot be had at once", "response_format"
            )
        return replace(request, json_schema=schema), Form()
    if isinstance(choice, NamedTool):
        named = [tool for tool in known if tool.name == choice.function.name]
        if not named:
            raise ApiError("invalid", "`tool_choice` names none of `tools`", "tool_choice")
        schema, form = schema_of_one(named[0]), Form(calls="named", tools=(named[0].name,))
        return replace(request, json_schema=schema), form
    if choice == "required":
        schema = schema_of_some(known, asked.parallel_tool_calls is not False)
        return replace(request, json_schema=schema), Form(calls="array", tools=names)
    return request, Form("begun" if thinks else "maybe", "tagged" if known else "none", names)


def limit(asked: CompletionRequest) -> int | None:
    """Return the tokens to generate, at least one: of a prompt alone, one is made and left out."""
    if asked.max_tokens == 0 and not asked.echo:
        raise ApiError("invalid", "`max_tokens`: 0 is for `echo` only", "max_tokens")
    return asked.max_tokens or (1 if asked.max_tokens == 0 else None)


def made(asked: CompletionRequest) -> int:
    """Return how many answers are made for each prompt."""
    wanted, best_of = asked.n or 1, asked.best_of or asked.n or 1
    if best_of < wanted:
        raise ApiError("invalid", "`best_of` must be at least `n`", "best_of")
    if best_of > wanted and (asked.stream or asked.echo):
        other = "stream" if asked.stream else "echo"
        raise ApiError("invalid", f"`best_of` above `n` does not go with `{other}`", "best_of")
    return best_of


def given(prompt: Any) -> list[str | list[int]]:
    """Return the prompts of a completion request, which may be one or many, text or token ids."""
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise ApiError("invalid", "`prompt` cannot be empty", "prompt")
    return [prompt] if isinstance(prompt[0], int) else list(prompt)


def _format(asked: ChatRequest) -> str | None:
    """Return the schema that the answer must fit, if any."""
    wanted = asked.response_format
    if wanted is None or wanted.type == "text":
        return None
    if isinstance(wanted, SchemaFormat) and wanted.json_schema.schema_ is not None:
        return json.dumps(wanted.json_schema.schema_, ensure_ascii=False)
    return _ANY_OBJECT


def _plain(arguments: str) -> str:
    """Return JSON without escapes that could hide what it says."""
    return json.dumps(json.loads(arguments), ensure_ascii=False)
