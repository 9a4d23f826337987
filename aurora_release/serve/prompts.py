"""Prompts: the tokens a model is given, and the texts a guard is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from aurora_release.serve.engines.protocol import Engine
from aurora_release.serve.replies import ApiError


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    """`system`, `user` or `assistant`."""
    content: str


@dataclass(frozen=True)
class Prompt:
    """A prompt that fits the model."""

    ids: tuple[int, ...]
    judged: tuple[str, ...]
    """What the guard must allow before anything is generated."""


def of_text(engine: Engine, text: str, param: str) -> Prompt:
    """Return the prompt of a plain text; `param` names it in an error."""
    return _fitting(engine, engine.tokenizer.encode(text), (text,), param)


def of_ids(engine: Engine, ids: Sequence[int], param: str) -> Prompt:
    """Return a prompt that came as token ids."""
    if any(not 0 <= number < engine.facts.vocabulary for number in ids):
        raise ApiError(
            "invalid", f"`{param}`: token ids go from 0 to {engine.facts.vocabulary - 1}", param
        )
    return _fitting(engine, ids, (engine.tokenizer.decode(ids),), param)


def of_messages(engine: Engine, messages: Sequence[Message]) -> Prompt:
    """Return the prompt of a conversation, by the chat template of the model.

    The guard sees the last turn of the user alone, and the whole conversation.
    """
    if not engine.tokenizer.chat_template:
        raise ApiError(
            "invalid", f"{engine.facts.id} has no chat template: use /v1/completions", "messages"
        )
    _refuse_control_tokens(engine, messages)
    turns: list[dict[str, Any]] = [
        {"role": message.role, "content": message.content} for message in messages
    ]
    try:
        ids = engine.tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=True, return_dict=False
        )
    except TemplateError as error:
        raise ApiError("invalid", f"`messages`: {error}", "messages") from None
    last = [message.content for message in messages if message.role == "user"][-1:]
    whole = "\n".join(message.content for message in messages)
    return _fitting(engine, ids, tuple(dict.fromkeys((*last, whole))), "messages")


def _refuse_control_tokens(engine: Engine, messages: Sequence[Message]) -> None:
    """Refuse text that spells a control token: with it, a user could write the turns of others."""
    for token in engine.tokenizer.all_special_tokens:
        if any(token in message.content for message in messages):
            raise ApiError(
                "invalid", f"`messages`: {token} is a control token of the model", "messages"
            )


def room(engine: Engine, prompt: Prompt, wanted: int | None, param: str) -> int:
    """Return how many tokens may be generated: `wanted`, or all that fit where none are named."""
    free = engine.facts.max_total_tokens - len(prompt.ids)
    if wanted is None:
        return free
    if wanted > free:
        raise ApiError(
            "invalid",
            f"`inputs` tokens + `{param}` must be <= {engine.facts.max_total_tokens}. "
            f"Given: {len(prompt.ids)} `inputs` tokens and {wanted} `{param}`",
            param,
            "context_length_exceeded",
        )
    return wanted


def _fitting(engine: Engine, ids: Sequence[int], judged: tuple[str, ...], param: str) -> Prompt:
    if not ids:
        raise ApiError("invalid", f"`{param}` cannot be empty", param)
    if len(ids) >= engine.facts.max_total_tokens:
        raise ApiError(
            "invalid",
            f"`{param}` must have less than {engine.facts.max_total_tokens} tokens. "
            f"Given: {len(ids)}",
            param,
            "context_length_exceeded",
        )
    return Prompt(tuple(ids), judged)
