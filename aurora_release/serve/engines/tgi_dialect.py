"""Upstreams that speak text-generation-inference's protocol.

Not through `huggingface_hub.AsyncInferenceClient`: it keeps each stream open until the client
itself is closed, so that a cancelled answer would go on, and it sends the user's own Hub token.
"""

import json
from collections.abc import Iterator
from typing import Any

from aurora_release.serve.engines.dialect import Event, Heard, Reader, Served, finite, refuse
from aurora_release.serve.engines.protocol import Ending, GenerationRequest, Token, Unsuitable
from aurora_release.serve.engines.vocabulary import Vocabulary

_ENDINGS: dict[str, Ending] = {"eos_token": "eos", "stop_sequence": "eos", "length": "length"}

_MOST_LOGPROBS = 5


class TGIDialect:
    """Sends text that the tokenizer here turns into the ids of the prompt, and nothing else."""

    description = "/info"
    generation = "/generate_stream"

    def __init__(self, vocabulary: Vocabulary):
        self._vocabulary = vocabulary

    def served(self, described: Any) -> Served:
        """Return what /info says."""
        software = str(described.get("router") or "text-generation-inference")
        return Served(str(described["model_id"]), described.get("max_total_tokens"), software)

    def body(self, request: GenerationRequest, served: Served) -> dict[str, Any]:
        """Return the body of /generate_stream; stop strings stay here, where all tokens come by.

        Raises:
            Unsuitable: TGI has no such field, or the prompt is the tokens of no text.
        """
        refuse(
            served.software, request,
            presence_penalty=0.0, min_p=0.0, logit_bias=(), prompt_logprobs=False,
        )  # fmt: skip
        if request.top_logprobs > _MOST_LOGPROBS:
            raise Unsuitable(f"`top_logprobs`: TGI names {_MOST_LOGPROBS} at most")
        text = self._vocabulary.prompt(request.prompt)
        if text is None:
            raise Unsuitable("the prompt is the tokens of no text, and TGI takes text only")
        return {"inputs": text, "parameters": _parameters(request)}

    def reader(self, request: GenerationRequest) -> Reader:
        """Return what reads the answer to a request."""
        return self._read

    def _read(self, event: Event) -> Iterator[Heard]:
        """Yield the token of an event; TGI writes the text itself, whole characters only."""
        token = _token(event["token"], tuple(map(_token, event.get("top_tokens") or ())))
        details = event.get("details")
        ending = _ENDINGS[details["finish_reason"]] if details else None
        yield Heard(token, "" if token.special else token.text, ending)


def _parameters(request: GenerationRequest) -> dict[str, Any]:
    """Return the fields that are not at the value which changes nothing: TGI refuses some of it."""
    sampled = request.temperature > 0
    found = {
        "max_new_tokens": request.max_new_tokens,
        "do_sample": sampled,
        "temperature": request.temperature if request.temperature not in (0, 1) else None,
        "top_k": request.top_k or None,
        "top_p": request.top_p if request.top_p < 1 else None,
        "typical_p": request.typical_p if request.typical_p < 1 else None,
        "seed": request.seed,
        "repetition_penalty": request.repetition_penalty,
        "frequency_penalty": request.frequency_penalty or None,
        "top_n_tokens": request.top_logprobs or None,
        "grammar": _grammar(request),
    }
    if not sampled:  # any of these would make TGI sample
        found |= dict.fromkeys(("top_k", "top_p", "typical_p", "seed"))
    return {name: value for name, value in found.items() if value is not None}


def _grammar(request: GenerationRequest) -> dict[str, Any] | None:
    if request.json_schema is not None:
        return {"type": "json", "value": json.loads(request.json_schema)}
    if request.regex is not None:
        return {"type": "regex", "value": request.regex}
    return None


def _token(said: Event, top: tuple[Token, ...] = ()) -> Token:
    return Token(
        int(said["id"]), str(said["text"]), finite(said["logprob"]), bool(said["special"]), top
    )
