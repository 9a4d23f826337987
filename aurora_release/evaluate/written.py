"""Questions that a model answers in writing: is it one of the right answers, and how near is it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aurora_release.evaluate.generate import Gap, Model, Sampling, continuations

_STOP = ("\n",)
"""Where an answer ends, unless an item has its own `stop`."""
_JAPANESE = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")


@dataclass(frozen=True)
class Written:
    """What a model answered."""

    text: str
    exact: bool
    """It is one of the right answers, but for case, white space and punctuation."""
    f1: float
    """Harmonic mean of the shares of words that it has in common with the nearest one."""


def reply(model: Model, rows: Sequence[dict[str, Any]], how: Sampling) -> Iterator[Written]:
    """Yield the likeliest answer to each item, `prompt`, beside the right ones, `answers`.

    Source: Rajpurkar et al. 2016, doi:10.18653/v1/D16-1264 (exact match and F1), without its rule
    for English articles; characters in place of words in Japanese, as JGLUE does.
    """
    greedy = replace(how, samples=1, temperature=0.0)
    for row in rows:
        gap = Gap(row["prompt"], stop=tuple(row.get("stop", _STOP)))
        [text] = continuations(model, gap, greedy)
        yield judge(text, row["answers"])


def judge(text: str, answers: Sequence[str]) -> Written:
    """Return how good an answer is."""
    said, right = _plain(text), [_plain(answer) for answer in answers]
    return Written(text, said in right, max(_f1(_units(said), _units(each)) for each in right))


def _plain(text: str) -> str:
    """Return a text without case, punctuation and needless white space."""
    known = unicodedata.normalize("NFKC", text).casefold()
    letters = "".join(each for each in known if not unicodedata.category(each).startswith("P"))
    return " ".join(letters.split())


def _units(text: str) -> list[str]:
    """Return the words of a text; a Japanese character is one, as its script has no spaces."""
    return _JAPANESE.sub(r" \1 ", text).split()


def _f1(said: Sequence[str], right: Sequence[str]) -> float:
    common = (Counter(said) & Counter(right)).total()
    return 2 * common / (len(said) + len(right)) if common else float(not said and not right)
