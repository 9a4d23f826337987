"""Tokens without a dictionary, and hashes of their n-grams."""

import zlib
from collections.abc import Iterable

import numpy as np
import regex
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

# words, marks included; scripts written without spaces give one token a character
ALONE = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_TOKEN = regex.compile(rf"(?V1)[{ALONE}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{ALONE}]]+")
_UNSPACED = {"ja", "zh", "yue", "th", "lo", "km", "my"}
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def width(language: str, words: int) -> int:
    """Return how many tokens say as much as `words` words: twice as many of characters."""
    return 2 * words if language.split("-")[0] in _UNSPACED else words


def tokens(text: str) -> list[str]:
    """Return the lower-case words of a text, or its characters in scripts without spaces."""
    found: list[str] = _TOKEN.findall(text.lower())
    return found


def hashes(words: list[str], size: int) -> Hashes:
    """Return a 64-bit hash of every run of `size` words, in order; none where there are fewer."""
    return hashes_of(words, [size])[size]


def hashes_of(words: list[str], sizes: Iterable[int]) -> dict[int, Hashes]:
    """Return the hashes of runs of several sizes, which cost little more than the longest."""
    each: Hashes = np.fromiter(map(_CHECKSUMS.__getitem__, words), np.uint64, len(words))
    each = _mixed(each)
    wanted = set(sizes)
    found: dict[int, Hashes] = {}
    runs: Hashes = np.zeros(len(words) + 1, np.uint64)
    for size in range(1, max(wanted) + 1):
        runs = runs[:-1] * _FACTOR + each[size - 1 :]
        if size in wanted:
            found[size] = _mixed(runs)
    return found


class _Checksums(dict[str, int]):
    """CRC-32 of words; the words of a language are few, so most are known."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 2**16:
            self.clear()
        found = self[word] = zlib.crc32(word.encode())
        return found


_CHECKSUMS = _Checksums()


def _mixed(value: Hashes) -> Hashes:
    """Return well spread bits (the finalizer of SplitMix64, Steele et al. 2014)."""
    value = value + _FACTOR
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
