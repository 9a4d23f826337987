"""A tokenizer as engines ask it: text of tokens, and tokens with what is known of them."""

from collections.abc import Sequence
from typing import Any

from aurora_release.serve.engines.protocol import Token


class Vocabulary:
    """The tokens of one model."""

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without the special ones."""
        text = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def token(self, number: int, logprob: float, top: tuple[Token, ...] = ()) -> Token:
        """Return a token by its id."""
        text = self._tokenizer.decode([number], clean_up_tokenization_spaces=False)
        return Token(number, text, logprob, number in self._special, top)

    def spelled(self, text: str, logprob: float, top: tuple[Token, ...] = ()) -> Token:
        """Return a token whose text alone is known; its id is that of the start of the text here.

        Without text it is the token that ends an answer.
        """
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        number = ids[0] if ids else self._tokenizer.eos_token_id or 0
        return Token(number, text, logprob, not ids, top)

    def prompt(self, ids: Sequence[int]) -> str | None:
        """Return the text that the tokenizer turns into exactly these ids; None if none is known.

        The tokenizer may put a token before every text: that one is left out of the text.
        """
        for start in (0, 1):
            text = self._tokenizer.decode(ids[start:], clean_up_tokenization_spaces=False)
            if text and self._tokenizer.encode(text) == list(ids):
                return str(text)
        return None
