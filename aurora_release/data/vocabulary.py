"""How well a tokenizer's vocabulary serves each language: fertility, before any training."""

from collections.abc import Iterable
from typing import Any

from aurora_release.data.store import Part

# written without spaces between words: tokens per word mean nothing there
_UNSPACED = frozenset({"ja", "zh", "th", "lo", "km", "my", "bo", "yue"})

_ENDS = 2
_MARKS = 3


def fertility(parts: Iterable[Part]) -> dict[str, dict[str, Any]]:
    """Return {language: tokens per word and per character, UTF-8 bytes per token} of the texts.

    Tokens that stand for no text (ends of documents, marks of fill-in-the-middle) do not count;
    tokens per word are None where words are not spaced.
    """
    texts = [part for part in parts if part.kind == "text" and part.tokens]
    found = {}
    for language in dict.fromkeys(part.language for part in texts):
        mine = [part for part in texts if part.language == language]
        tokens = sum(part.tokens - _ENDS * part.documents - _MARKS * part.fim for part in mine)
        spaced = language.partition("-")[0] not in _UNSPACED
        found[language] = {
            "tokens": tokens,
            "tokens_per_word": tokens / max(1, sum(p.words for p in mine)) if spaced else None,
            "tokens_per_character": tokens / max(1, sum(part.characters for part in mine)),
            "bytes_per_token": sum(part.bytes for part in mine) / max(1, tokens),
        }
    return found
