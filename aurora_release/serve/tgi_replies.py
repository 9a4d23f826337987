"""TGI's replies, made of the pieces of an answer: whole, or event by event."""

from collections.abc import Sequence
from typing import Any

from aurora_release.safety.guard import Verdict
from aurora_release.serve.engines.protocol import GenerationRequest, Token
from aurora_release.serve.generation import Piece
from aurora_release.serve.schemas_tgi import GenerateRequest

_ENDINGS = {"eos": "eos_token", "stop": "stop_sequence", "length": "length"}


class Answer:
    """A TGI reply, made of the pieces of one answer."""

    def __init__(self, asked: GenerateRequest, request: GenerationRequest):
        self._wanted = asked.parameters
        self._prefix = asked.inputs if asked.parameters.return_full_text else ""
        self._request = request
        self._text = ""
        self._tokens: list[Token] = []
        self._prompt: tuple[Token, ...] = ()
        self._last: Piece | None = None

    @property
    def rank(self) -> tuple[bool, float]:
        """What answers are sorted by: the likeliest a token first, blocked ones last."""
        logprobs = [token.logprob for token in self._tokens]
        return self._blocked is not None, -sum(logprobs) / max(1, len(logprobs))

    def add(self, piece: Piece) -> None:
        """Add a piece; a refusal takes the place of what came before it."""
        self._text = piece.text if piece.blocked else self._text + piece.text
        self._tokens = [] if piece.blocked else [*self._tokens, *piece.tokens]
        self._prompt = () if piece.blocked else piece.prompt or self._prompt
        self._last = piece

    def whole(self, others: Sequence["Answer"] = ()) -> dict[str, Any]:
        """Return the reply of a request without streaming, with the less likely answers in it."""
        reply: dict[str, Any] = {"generated_text": self._prefix + self._text}
        if self._wanted.details or self._blocked:
            reply["details"] = self._whole_details()
            if others:
                reply["details"]["best_of_sequences"] = [
                    {"generated_text": other._prefix + other._text, **other._whole_details()}
                    for other in others
                ]
        return reply

    def events(self, piece: Piece) -> list[dict[str, Any]]:
        """Return one event a token; the last one also has the whole text and the details."""
        sent, before = len(self._tokens), self._text
        self.add(piece)
        tokens = list(piece.tokens)
        if not tokens and (piece.text or piece.ending):
            # TGI has no event without a token: refusals and notices travel as the text of one
            text = f"\n\n{piece.text}" if piece.blocked and before else piece.text
            tokens = [Token(self._request.prompt[-1], text, 0.0, False)]
        events: list[dict[str, Any]] = [
            {
                "index": index,
                "token": _token(token),
                **({"top_tokens": _top(token)} if self._wanted.top_n_tokens else {}),
                "generated_text": None,
                "details": None,
            }
            for index, token in enumerate(tokens, sent + 1)
        ]
        if piece.ending is not None:
            events[-1]["generated_text"] = self._prefix + self._text
            events[-1]["details"] = self._details()
        return events

    @property
    def _blocked(self) -> Verdict | None:
        return self._last.blocked if self._last is not None else None

    def _whole_details(self) -> dict[str, Any]:
        details = {**self._details(), "prefill": self._prefill()}
        details["tokens"] = [_token(token) for token in self._tokens]
        if self._wanted.top_n_tokens:
            details["top_tokens"] = [_top(token) for token in self._tokens]
        return details

    def _prefill(self) -> list[dict[str, Any]]:
        """Return the tokens of the prompt, if they were asked for; the first follows nothing."""
        listed: list[dict[str, Any]] = [
            {"id": token.id, "text": token.text, "logprob": token.logprob} for token in self._prompt
        ]
        if listed:
            listed[0]["logprob"] = None
        return listed

    def _details(self) -> dict[str, Any]:
        assert self._last is not None and self._last.ending is not None
        details: dict[str, Any] = {
            "finish_reason": _ENDINGS[self._last.ending],
            "generated_tokens": self._last.generated_tokens,
            "seed": self._request.seed,
            "input_length": len(self._request.prompt),
        }
        if self._blocked is not None:
            details["safety"] = {"blocked": True, "category": self._blocked.category}
        return details


def _token(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "text": token.text,
        "logprob": token.logprob,
        "special": token.special,
    }


def _top(token: Token) -> list[dict[str, Any]]:
    return [_token(other) for other in token.top]
