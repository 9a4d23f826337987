"""Prompts: the tokens a model is given, and the texts a guard is shown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateError

from aurora_release.data.fim import marks
from aurora_release.errors import AuroraError
from aurora_release.serve.channels import THINK
from aurora_release.serve.engines.protocol import Engine
from aurora_release.serve.replies import ApiError
from aurora_release.serve.tools import Call, Tool, preamble


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    """`system`, `user`, `assistant` or `tool`."""
    content: str
    calls: tuple[Call, ...] = ()
    """The tools that an assistant called."""

    @property
    def judged(self) -> str:
        """All that it says."""
        return "\n".join(filter(None, (self.content, *(call.written for call in self.calls))))


@dataclass(frozen=True)
class Prompt:
    """A prompt that fits the model."""

    ids: tuple[int, ...]
    judged: tuple[str, ...]
    """What the guard must allow before anything is generated."""
    thinks: bool = False
    """It ends where the model begins to reason."""


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


def of_gap(engine: Engine, before: str, after: str) -> Prompt:
    """Return the prompt to fill in what stands between two texts."""
    tokenizer = engine.tokenizer
    try:
        mark = marks(tokenizer)
    except AuroraError:
        raise ApiError(
            "invalid", f"{engine.facts.id} was not trained to fill in the middle", "suffix"
        ) from None
    first = tokenizer.encode(before, add_special_tokens=False)
    second = tokenizer.encode(after, add_special_tokens=False)
    ids = [mark["prefix"], *first, mark["suffix"], *second, mark["middle"]]
    texts = [text for text in (before, after, before + after) if text]
    return _fitting(engine, ids, tuple(dict.fromkeys(texts)), "prompt")


def of_messages(engine: Engine, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> Prompt:
    """Return the prompt of a conversation, by the chat template of the model.

    The guard sees what came last alone (the turn of the user, and each result of a tool after it),
    the whole conversation, and what is said of the tools.
    """
    if not engine.tokenizer.chat_template:
        raise ApiError(
            "invalid", f"{engine.facts.id} has no chat template: use /v1/completions", "messages"
        )
    told = preamble(tools) if tools else ""
    _refuse_control_tokens(engine, [*(message.judged for message in messages), told])
    declared = [tool.declared for tool in tools] or None
    knows = "tools" in engine.tokenizer.get_chat_template(tools=declared)
    turns = [_turn(message) for message in messages] if knows else _plain_turns(messages, told)
    try:
        ids = engine.tokenizer.apply_chat_template(
            turns, tools=declared, add_generation_prompt=True, tokenize=True, return_dict=False
        )
    except (TemplateError, TypeError, ValueError) as error:
        raise ApiError("invalid", f"`messages`: {error}", "messages") from None
    whole = "\n".join(message.judged for message in messages)
    judged = tuple(dict.fromkeys(filter(None, (*_last(messages), whole, told))))
    thinks = engine.tokenizer.decode(ids[-8:]).rstrip().endswith(THINK)
    return replace(_fitting(engine, ids, judged, "messages"), thinks=thinks)


def _last(messages: Sequence[Message]) -> list[str]:
    """Return the last turn of the user, and the results of tools after it."""
    spoken = [place for place, message in enumerate(messages) if message.role == "user"]
    since = messages[spoken[-1] if spoken else 0 :]
    return [message.content for message in since if message.role in ("user", "tool")]


def _turn(message: Message) -> dict[str, Any]:
    """Return a message as a chat template takes it that knows of tools."""
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        turn["tool_calls"] = [call.declared for call in message.calls]
    return turn


def _plain_turns(messages: Sequence[Message], told: str) -> list[dict[str, Any]]:
    """Return the messages for a chat template that knows of text only."""
    turns = [
        {"role": "user", "content": f"<tool_response>\n{message.content}\n</tool_response>"}
        if message.role == "tool"
        else {"role": message.role, "content": message.judged}
        for message in messages
    ]
    if told and turns[0]["role"] == "system":
        turns[0]["content"] += f"\n\n{told}"
    elif told:
        turns.insert(0, {"role": "system", "content": told})
    return turns


def _refuse_control_tokens(engine: Engine, texts: Sequence[str]) -> None:
    """Refuse text that spells a control token: with it, a user could write the turns of others."""
    for token in engine.tokenizer.all_special_tokens:
        if any(token in text for text in texts):
            raise ApiError(
                "invalid", f"`messages`: {token} is a control token of the model", "messages"
            )


def room(engine: Engine, prompt: Prompt, wanted: int | None, param: str, given: str) -> int:
    """Return how many tokens may be generated: `wanted`, or all that fit where none are named.

    An error names the two fields: `param` holds what is wanted, `given` the prompt.
    """
    free = engine.facts.max_total_tokens - len(prompt.ids)
    if wanted is None:
        return free
    if wanted > free:
        raise ApiError(
            "invalid",
            f"`{given}` tokens + `{param}` must be <= {engine.facts.max_total_tokens}. "
            f"Given: {len(prompt.ids)} `{given}` tokens and {wanted} `{param}`",
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
