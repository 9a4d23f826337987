"""Upstreams that speak OpenAI's /v1/completions: vLLM, SGLang, llama-server, aurora serve …"""

import hmac
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from aurora_release.serve.engines.dialect import (
    Event,
    Heard,
    Reader,
    Served,
    UpstreamBroken,
    finite,
    refuse,
)
from aurora_release.serve.engines.protocol import Ending, GenerationRequest, Token
from aurora_release.serve.engines.vocabulary import Vocabulary

_UNKNOWN = "OpenAI-compatible"

_DEFAULTS = {"top_k": 0, "min_p": 0.0, "typical_p": 1.0, "repetition_penalty": 1.0}
"""Fields of a request that OpenAI's protocol does not have, and the values that change nothing."""

_ENDINGS: dict[str, Ending] = {"stop": "eos", "length": "length", "content_filter": "eos"}

_ID = "token_id:"
"""What vLLM writes before the id of a token, in place of its text."""


@dataclass(frozen=True)
class Software:
    """What a server takes beyond OpenAI's protocol."""

    fields: Mapping[str, str] = field(default_factory=dict)
    """Its names for fields of a request."""
    always: Mapping[str, Any] = field(default_factory=dict)
    """What stands in every request."""
    schema: Callable[[Any], dict[str, Any]] | None = None
    regex: Callable[[str], dict[str, Any]] | None = None
    apart: Callable[[str], dict[str, Any]] | None = None
    """Keeps what it read for one owner from being found for another."""
    seeded: Mapping[str, Any] = field(default_factory=dict)
    """What a request with a seed says too, so that its answer is the same each time."""
    scores_prompts: bool = False
    fewest_logprobs: int = 1
    """0 names the chosen token alone, where that is understood."""
    most_logprobs: int = 5


_SECRET = secrets.token_bytes(32)


def _salt(owner: str) -> dict[str, Any]:
    """Return what no other client of the server can say, nor we after a restart."""
    return {"cache_salt": hmac.digest(_SECRET, owner.encode(), "sha256").hex()}


_LLAMA_CPP = {"top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repeat_penalty"}

SOFTWARE = {
    "vllm": Software(
        fields={name: name for name in ("top_k", "min_p", "repetition_penalty")},
        always={"return_tokens_as_token_ids": True},
        schema=lambda schema: {"structured_outputs": {"json": schema}},
        regex=lambda regex: {"structured_outputs": {"regex": regex}},
        apart=_salt,
        scores_prompts=True,
        fewest_logprobs=0,
        most_logprobs=20,
    ),
    "sglang": Software(
        fields={name: name for name in ("top_k", "min_p", "repetition_penalty")},
        schema=lambda schema: {"json_schema": json.dumps(schema)},
        regex=lambda regex: {"regex": regex},
    ),
    "llamacpp": Software(
        fields={**_LLAMA_CPP, "typical_p": "typical_p"},
        # its own default looks back 64 tokens; newer ones refuse -1, which meant all
        always={"repeat_last_n": 1 << 16},
        schema=lambda schema: {"json_schema": schema},
        # its slots know no owners: prompts are read anew
        apart=lambda owner: {"cache_prompt": False},
        # a prompt it has read before is read in other pieces, whose sums end otherwise
        seeded={"cache_prompt": False},
        most_logprobs=20,
    ),
    "node-llama-cpp": Software(fields=_LLAMA_CPP, most_logprobs=20),
    "aurora-release": Software(
        fields={name: name for name in ("top_k", "repetition_penalty")},
        apart=_salt,
        fewest_logprobs=0,
    ),
}
"""By what /v1/models calls the owner of a model; any other server is held to OpenAI's own."""


class OpenAIDialect:
    """Sends token ids, so that prompts are made by the tokenizer and the template here."""

    description = "/v1/models"
    generation = "/v1/completions"

    def __init__(self, vocabulary: Vocabulary):
        self._vocabulary = vocabulary

    def served(self, described: Any) -> Served:
        """Return the first model of the list."""
        model = described["data"][0]
        longest = model.get("max_model_len") or (model.get("meta") or {}).get("n_ctx")
        software = str(model.get("owned_by") or _UNKNOWN)
        return Served(str(model["id"]), longest, software)

    def body(self, request: GenerationRequest, served: Served) -> dict[str, Any]:
        """Return the body of /v1/completions; stop strings stay here, where all tokens come by.

        Raises:
            Unsuitable: the server cannot do what is asked.
        """
        software = SOFTWARE.get(served.software, Software())
        _check(request, software, served.software)
        bias = {str(number): value for number, value in request.logit_bias}
        return {
            "model": served.name,
            "prompt": list(request.prompt),
            "max_tokens": request.max_new_tokens,
            "stream": True,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "frequency_penalty": request.frequency_penalty,
            "presence_penalty": request.presence_penalty,
            "logprobs": max(request.top_logprobs, software.fewest_logprobs),
            **({"seed": request.seed, **software.seeded} if request.seed is not None else {}),
            **({"logit_bias": bias} if bias else {}),
            **({"echo": True} if request.prompt_logprobs else {}),
            **{theirs: getattr(request, ours) for ours, theirs in software.fields.items()},
            **software.always,
            **(software.apart(request.owner) if request.owner and software.apart else {}),
            **_constraint(request, software),
        }

    def reader(self, request: GenerationRequest) -> Reader:
        """Return what reads the answer to a request."""
        return _Reader(self._vocabulary, request).read


def _check(request: GenerationRequest, software: Software, name: str) -> None:
    missing: dict[str, Any] = {}
    missing |= {ours: value for ours, value in _DEFAULTS.items() if ours not in software.fields}
    if software.schema is None:
        missing["json_schema"] = None
    if software.regex is None:
        missing["regex"] = None
    if not software.scores_prompts:
        missing["prompt_logprobs"] = False
    if request.top_logprobs > software.most_logprobs:
        missing["top_logprobs"] = software.most_logprobs
    refuse(name, request, **missing)


def _constraint(request: GenerationRequest, software: Software) -> dict[str, Any]:
    """Return what binds the answer to a schema or a regular expression, if anything."""
    if request.json_schema is not None and software.schema is not None:
        return software.schema(json.loads(request.json_schema))
    if request.regex is not None and software.regex is not None:
        return software.regex(request.regex)
    return {}


class _Reader:
    """Reads one answer."""

    def __init__(self, vocabulary: Vocabulary, request: GenerationRequest):
        self._vocabulary = vocabulary
        self._top = request.top_logprobs
        self._echoed = request.prompt if request.prompt_logprobs else ()
        """The tokens of the prompt that are still to come."""
        self._prompt: list[Token] = []

    def read(self, event: Event) -> Iterator[Heard]:
        """Yield the tokens of an event."""
        for choice in event["choices"]:
            ending = _ENDINGS.get(choice.get("finish_reason") or "")
            said = self._split(choice)
            for token, text in said[:-1]:
                yield self._heard(token, text, None)
            for token, text in said[-1:]:
                yield self._heard(token, text, ending)
            if ending and not said:
                yield self._heard(self._vocabulary.spelled("", 0.0), "", ending)

    def _heard(self, token: Token, text: str | None, ending: Ending | None) -> Heard:
        prompt, self._prompt = tuple(self._prompt), []
        return Heard(token, text, ending, prompt)

    def _split(self, choice: Event) -> list[tuple[Token, str | None]]:
        """Return the tokens of a choice, each with its text where there are no ids to make it of.

        Raises:
            UpstreamBroken: there is text, and no word of its tokens.
        """
        listed = choice.get("logprobs")
        if listed is None and choice["text"] and not choice.get("finish_reason"):
            raise UpstreamBroken("it names no tokens, though `logprobs` were asked for")
        tokens, named = self._tokens(listed or {})
        fresh = self._after_prompt(tokens)
        if named:
            return [(token, None) for token in fresh]
        text = choice["text"]
        if not fresh:
            return [(self._vocabulary.spelled(text, 0.0), text)] if text else []
        texts = [token.text for token in fresh]
        if "".join(texts) != text:  # parts of characters: all of it belongs to the last
            texts = [*[""] * (len(fresh) - 1), text]
        return list(zip(fresh, texts, strict=True))

    def _after_prompt(self, tokens: list[Token]) -> list[Token]:
        """Take what is left of the prompt off the tokens and return the rest.

        Raises:
            UpstreamBroken: they are not the prompt's, and would leave as what was judged before.
        """
        taken = tokens[: len(self._echoed)]
        if [token.id for token in taken] != list(self._echoed[: len(taken)]):
            raise UpstreamBroken("it does not repeat the prompt, though `echo` was asked for")
        self._echoed = self._echoed[len(taken) :]
        self._prompt += taken
        return tokens[len(taken) :]

    def _tokens(self, listed: Mapping[str, Any]) -> tuple[list[Token], bool]:
        """Return the tokens of a list of logprobs, and whether it names their ids."""
        if "content" in listed:  # llama-server
            return [self._of_llama(entry) for entry in listed["content"]], True
        names: Sequence[str] = listed.get("tokens") or ()
        rows = zip_longest(
            names, listed.get("token_logprobs") or (), listed.get("top_logprobs") or ()
        )
        tokens = [self._named(name, logprob, top or {}) for name, logprob, top in rows]
        return tokens, all(name.startswith(_ID) for name in names) and bool(names)

    def _named(self, name: str, logprob: float | None, top: Mapping[str, float]) -> Token:
        likeliest = sorted(top.items(), key=lambda item: -item[1])[: self._top]
        others = tuple(self._named(other, value, {}) for other, value in likeliest)
        # of the first token of a prompt nothing is known
        known = 0.0 if logprob is None else finite(logprob)
        if name.startswith(_ID):
            return self._vocabulary.token(int(name.removeprefix(_ID)), known, others)
        return self._vocabulary.spelled(name, known, others)

    def _of_llama(self, entry: Mapping[str, Any]) -> Token:
        likeliest = (entry.get("top_logprobs") or ())[: self._top]
        others = tuple(self._of_llama(other) for other in likeliest)
        return self._vocabulary.token(int(entry["id"]), finite(entry["logprob"]), others)
