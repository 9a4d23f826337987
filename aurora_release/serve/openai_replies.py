"""OpenAI's replies, made of the pieces of answers: whole, or chunk by chunk."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aurora_release.safety.stream import REASONING, TEXT
from aurora_release.serve.channels import Form
from aurora_release.serve.engines.protocol import Token
from aurora_release.serve.generation import Piece


@dataclass(frozen=True)
class Head:
    """What stands in every chunk of a reply."""

    id: str
    created: int
    model: str
    fingerprint: str
    prompt_tokens: int


@dataclass
class _Called:
    """A tool call as far as it has come."""

    tool: str
    arguments: str = ""
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex}")


@dataclass
class _Answer:
    """One answer as far as it has come."""

    text: str = ""
    reasoning: str = ""
    calls: list[_Called] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    prompt: tuple[Token, ...] = ()
    generated_tokens: int = 0
    finish_reason: str | None = None


class Reply:
    """What both OpenAI routes share of a reply."""

    object: str
    chunk_object: str

    def __init__(self, head: Head, answers: int, logprobs: int | None):
        self._head = head
        self._answers = [_Answer() for _ in range(answers)]
        self._logprobs = logprobs
        """How many likeliest tokens are wanted beside each; None where no logprobs are."""
        self._kept = (1, 1)

    @property
    def id(self) -> str:
        """The id of the reply."""
        return self._head.id

    def add(self, piece: Piece) -> None:
        """Add a piece to its answer; a refusal takes the place of what came before it."""
        answer = self._answers[piece.index]
        if piece.blocked:
            answer.text, answer.reasoning, answer.calls = piece.text, "", []
        elif piece.channel == TEXT:
            answer.text += piece.text
        elif piece.channel == REASONING:
            answer.reasoning += piece.text
        else:
            if piece.tool:
                answer.calls.append(_Called(piece.tool))
            answer.calls[-1].arguments += piece.text
        answer.tokens = [] if piece.blocked else [*answer.tokens, *piece.tokens]
        answer.prompt = () if piece.blocked else piece.prompt or answer.prompt
        answer.generated_tokens = piece.generated_tokens
        answer.finish_reason = self._finish_reason(piece, answer)

    def keep(self, wanted: int, made: int) -> None:
        """Let the whole reply hold the `wanted` likeliest of each `made` answers in a row."""
        self._kept = (wanted, made)

    def whole(self) -> dict[str, Any]:
        """Return the reply with all answers."""
        choices = [self._choice(index, answer) for index, answer in enumerate(self._best())]
        return {**self._top(self.object), "choices": choices, "usage": self._usage()}

    def opening(self) -> Iterator[dict[str, Any]]:
        """Yield the chunks that come before any text."""
        yield from ()

    def chunks(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """Yield the chunks for one piece: its text, then the end of its answer."""
        sent = len(self._answers[piece.index].text)
        self.add(piece)
        if piece.text:
            if piece.blocked and sent:
                piece = replace(piece, text=f"\n\n{piece.text}")
            yield self._chunk(self._delta(piece, None, sent))
        if reason := self._answers[piece.index].finish_reason:
            yield self._chunk(self._delta(Piece(piece.index, "", (), None, 0), reason, sent))

    def usage_chunk(self) -> dict[str, Any]:
        """Return the last chunk of a stream whose usage was asked for."""
        return {**self._top(self.chunk_object), "choices": [], "usage": self._usage()}

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return {**self._top(self.chunk_object), "choices": [choice]}

    def _top(self, name: str) -> dict[str, Any]:
        return {
            "id": self._head.id,
            "object": name,
            "created": self._head.created,
            "model": self._head.model,
            "system_fingerprint": self._head.fingerprint,
        }

    def _usage(self) -> dict[str, int]:
        generated = sum(answer.generated_tokens for answer in self._answers)
        return {
            "prompt_tokens": self._head.prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": self._head.prompt_tokens + generated,
        }

    def _best(self) -> list[_Answer]:
        """Return the answers that the whole reply holds."""
        wanted, made = self._kept
        if wanted == made:
            return self._answers
        groups = [self._answers[at : at + made] for at in range(0, len(self._answers), made)]
        return [each for group in groups for each in sorted(group, key=_likely)[:wanted]]

    def _finish_reason(self, piece: Piece, answer: _Answer) -> str | None:
        """Return OpenAI's word for why an answer ended; None while it goes on."""
        if piece.blocked:
            return "content_filter"
        return "length" if piece.ending == "length" else "stop" if piece.ending else None

    def _choice(self, index: int, answer: _Answer) -> dict[str, Any]:
        """Return one answer of a whole reply."""
        raise NotImplementedError

    def _delta(self, piece: Piece, reason: str | None, offset: int) -> dict[str, Any]:
        """Return one answer's part of a chunk; `offset`: characters of it sent before."""
        raise NotImplementedError


class TextReply(Reply):
    """The reply of /v1/completions."""

    object = chunk_object = "text_completion"

    def _choice(self, index: int, answer: _Answer) -> dict[str, Any]:
        listed = self._listed(answer.tokens, 0)
        return _completion(index, answer.text, listed, answer.finish_reason)

    def _delta(self, piece: Piece, reason: str | None, offset: int) -> dict[str, Any]:
        return _completion(piece.index, piece.text, self._listed(piece.tokens, offset), reason)

    def _listed(self, tokens: Sequence[Token], offset: int) -> dict[str, Any] | None:
        if self._logprobs is None:
            return None
        return _columns([token for token in tokens if token.text], offset)


class EchoReply(TextReply):
    """The reply of /v1/completions that begins with the prompts; a blocked one is refused alone."""

    def __init__(self, head: Head, echoed: Sequence[str], logprobs: int | None, only_prompt: bool):
        super().__init__(head, len(echoed), logprobs)
        self._echoed = echoed
        self._only_prompt = only_prompt
        """Leave out the one token that was generated: `max_tokens` was 0."""
        self._begun: set[int] = set()

    def chunks(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """Yield the chunks for one piece, and the prompt before the first."""
        if piece.index not in self._begun and not piece.blocked:
            self._begun.add(piece.index)
            listed = self._listed_prompt(piece.prompt)
            prompt = _completion(piece.index, self._echoed[piece.index], listed, None)
            yield self._chunk(prompt)
        if self._only_prompt and not piece.blocked:
            piece = replace(piece, text="", tokens=())
        yield from super().chunks(piece)

    def _choice(self, index: int, answer: _Answer) -> dict[str, Any]:
        if answer.finish_reason == "content_filter":
            return super()._choice(index, answer)
        # every token, also one without text of its own: whoever scores counts places
        tokens = answer.prompt if self._only_prompt else (*answer.prompt, *answer.tokens)
        text = self._echoed[index] + ("" if self._only_prompt else answer.text)
        return _completion(index, text, self._listed_prompt(tokens), answer.finish_reason)

    def _delta(self, piece: Piece, reason: str | None, offset: int) -> dict[str, Any]:
        begun = piece.index in self._begun
        return super()._delta(piece, reason, offset + len(self._echoed[piece.index]) * begun)

    def _listed_prompt(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        """Return tokens that begin with those of the prompt; the first follows nothing."""
        if self._logprobs is None:
            return None
        columns = _columns(tokens, 0)
        for key in ("token_logprobs", "top_logprobs"):
            columns[key][0] = None
        return columns

    def _usage(self) -> dict[str, int]:
        usage = super()._usage()
        if not self._only_prompt:
            return usage
        return {**usage, "completion_tokens": 0, "total_tokens": usage["prompt_tokens"]}


def _completion(
    index: int, text: str, logprobs: dict[str, Any] | None, reason: str | None
) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _likely(answer: _Answer) -> tuple[bool, float]:
    """Return what answers are sorted by: the likeliest a token first, blocked ones last."""
    logprobs = [token.logprob for token in answer.tokens]
    blocked = answer.finish_reason == "content_filter"
    return blocked, -sum(logprobs) / max(1, len(logprobs))


def _columns(tokens: Sequence[Token], offset: int) -> dict[str, Any]:
    """Return tokens as /v1/completions lists them; the first begins at character `offset`."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [
            {other.text: other.logprob for other in (token, *token.top)} for token in tokens
        ],
        "text_offset": offsets,
    }


class ChatReply(Reply):
    """The reply of /v1/chat/completions."""

    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def __init__(self, head: Head, answers: int, logprobs: int | None, form: Form):
        super().__init__(head, answers, logprobs)
        self._form = form

    def opening(self) -> Iterator[dict[str, Any]]:
        """Yield who speaks, once for each answer."""
        for index in range(len(self._answers)):
            delta = {"role": "assistant", "content": ""}
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            yield self._chunk(choice)

    def _finish_reason(self, piece: Piece, answer: _Answer) -> str | None:
        reason = super()._finish_reason(piece, answer)
        # as OpenAI does: not where the call was named, and so no choice of the model
        called = answer.calls and self._form.calls != "named"
        return "tool_calls" if reason == "stop" and called else reason

    def _choice(self, index: int, answer: _Answer) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer.text or (None if answer.calls else ""),
            "refusal": None,
        }
        if answer.reasoning:
            message["reasoning_content"] = answer.reasoning
        if answer.calls:
            message["tool_calls"] = [_call(call) for call in answer.calls]
        return {
            "index": index,
            "message": message,
            "logprobs": self._listed(answer.tokens),
            "finish_reason": answer.finish_reason,
        }

    def _delta(self, piece: Piece, reason: str | None, offset: int) -> dict[str, Any]:
        delta: dict[str, Any] = {}
        if piece.channel.kind == "tool":
            delta = {"tool_calls": [self._part_of_call(piece)]}
        elif piece.text:
            delta = {"content" if piece.channel == TEXT else "reasoning_content": piece.text}
        return {
            "index": piece.index,
            "delta": delta,
            "logprobs": self._listed(piece.tokens) if piece.tokens else None,
            "finish_reason": reason,
        }

    def _part_of_call(self, piece: Piece) -> dict[str, Any]:
        """Return what a piece says of a tool call: at its beginning also which one it is."""
        place = piece.channel.index
        if not piece.tool:
            return {"index": place, "function": {"arguments": piece.text}}
        call = self._answers[piece.index].calls[-1]
        return {"index": place, **_call(replace(call, arguments=piece.text))}

    def _listed(self, tokens: Sequence[Token]) -> dict[str, Any] | None:
        if self._logprobs is None:
            return None
        content = [
            {**_logprob(token), "top_logprobs": [_logprob(other) for other in token.top]}
            for token in tokens
            if token.text
        ]
        return {"content": content, "refusal": None}


def _call(call: _Called) -> dict[str, Any]:
    about = {"name": call.tool, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": about}


def _logprob(token: Token) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.text.encode())}
