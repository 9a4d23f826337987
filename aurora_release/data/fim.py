"""Fill-in-the-middle: documents whose middle is moved to their end, so that a model learns both."""

import hashlib
from collections.abc import Iterator
from typing import Any

from aurora_release.errors import AuroraError

MARKS = ("prefix", "suffix", "middle")

Piece = tuple[str, str]
"""A mark, or none, and the text that follows it."""


def pieces(text: str, share: float, seed: int, identity: str) -> tuple[Piece, ...]:
    """Return a document as it is written for training: as it stands, or moved about.

    Whether it is moved and where it is cut, in characters, is decided by seed and document id
    alone. Half of the moved are written prefix-suffix-middle, half suffix-prefix-middle.
    Source: Bavarian et al. 2022, "Efficient training of language models to fill in the middle",
    section 3 (document level, both in one training, SPM variant 2).
    """
    chance, form, first, second = _draws(f"{seed}:{identity}")
    if chance >= share * 2**64:
        return (("", text),)
    low, high = sorted((first % (len(text) + 1), second % (len(text) + 1)))
    prefix, middle, suffix = text[:low], text[low:high], text[high:]
    if form % 2:
        return ("prefix", prefix), ("suffix", suffix), ("middle", middle)
    return ("prefix", ""), ("suffix", suffix), ("middle", prefix), ("", middle)


def known(tokenizer: Any) -> dict[str, int] | None:
    """Return the token ids of the marks; None where the tokenizer has no such tokens."""
    ids = tokenizer.get_vocab()
    for form in ("<fim_{}>", "<fim-{}>", "<|fim_{}|>"):
        found = {mark: form.format(mark) for mark in MARKS}
        if all(name in ids for name in found.values()):
            return {mark: int(ids[name]) for mark, name in found.items()}
    return None


def marks(tokenizer: Any) -> dict[str, int]:
    """Return the token ids of the marks.

    Raises:
        AuroraError: the tokenizer has no such tokens.
    """
    found = known(tokenizer)
    if found is not None:
        return found
    raise AuroraError(
        "The tokenizer has no <fim_prefix>, <fim_suffix> and <fim_middle>, which `fim` of a "
        "source in data.sources needs. Set fim to 0, or choose a base model that knows them."
    )


def _draws(key: str) -> Iterator[int]:
    """Yield four independent numbers of 64 bits."""
    digest = hashlib.blake2b(key.encode(), digest_size=32).digest()
    return (int.from_bytes(digest[at : at + 8], "big") for at in range(0, 32, 8))
