"""Which tokens may come next where an answer must fit a schema or an expression (llguidance)."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from aurora_release.serve.engines.protocol import GenerationRequest, Unsuitable

if TYPE_CHECKING:
    import torch
    from llguidance import LLMatcher

LONGEST = 32_768
"""Characters of a schema or an expression."""

_WHITESPACE = r"[ \n\t]{0,16}"
"""Between the tokens of JSON; without a bound, a weak model would write nothing else."""


class Grammars:
    """Compiles the grammars of requests for one vocabulary."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: Collection[int]):
        from llguidance.hf import from_tokenizer

        self._fault = ""
        try:
            self._tokens = from_tokenizer(
                tokenizer, n_vocab=max(vocabulary, len(tokenizer)), eos_token=sorted(ends)
            )
        except ValueError as error:
            self._fault = f"The tokenizer of this model does not go with grammars: {error}."

    def compiled(self, request: GenerationRequest) -> "Grammar | None":
        """Return the grammar of a request at its start, or None where anything may be said.

        Raises:
            Unsuitable: the schema or the expression is too long or cannot be compiled.
        """
        text = request.json_schema if request.regex is None else request.regex
        if text is None:
            return None
        if self._fault:
            raise Unsuitable(self._fault)
        if len(text) > LONGEST:
            raise Unsuitable(
                f"The grammar has {len(text)} characters: at most {LONGEST} are compiled."
            )
        from llguidance import LLMatcher

        source = _of_schema(text) if request.regex is None else LLMatcher.grammar_from_regex(text)
        matcher = LLMatcher(self._tokens, source, log_level=0)
        if matcher.is_error():
            raise Unsuitable(f"The grammar cannot be compiled: {_first_line(matcher.get_error())}")
        return Grammar(matcher)


class Grammar:
    """How far one answer has come in its grammar."""

    def __init__(self, matcher: "LLMatcher"):
        self._matcher = matcher

    @property
    def complete(self) -> bool:
        """Whether nothing can follow any more."""
        return self._matcher.is_stopped()

    def allow(self, scores: "torch.Tensor") -> "torch.Tensor":
        """Return `scores` [vocabulary] with -inf for every token that cannot come next."""
        import torch

        bits = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        if self._matcher.is_error():
            raise Unsuitable(
                f"The grammar grew too large: {_first_line(self._matcher.get_error())}"
            )
        places = torch.arange(8, dtype=torch.uint8)
        allowed = (bits[:, None] >> places & 1).bool().flatten()[: len(scores)]
        return scores.masked_fill(~allowed.to(scores.device), -torch.inf)

    def take(self, token: int) -> None:
        """Go on by one token, which must have been allowed."""
        self._matcher.consume_token(token)


def _of_schema(schema: str) -> str:
    from llguidance import LLMatcher

    try:
        return LLMatcher.grammar_from_json_schema(
            schema, defaults={"whitespace_pattern": _WHITESPACE}
        )
    except ValueError as error:
        raise Unsuitable(f"The schema cannot be read: {_first_line(str(error))}") from None


def _first_line(error: str) -> str:
    return " ".join(error.split())[:300]
