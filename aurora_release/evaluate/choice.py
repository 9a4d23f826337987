"""Choice tasks: of several continuations, which the model finds likeliest."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aurora_release.evaluate.bits import separator
from aurora_release.evaluate.likelihood import Likelihood, Scorer, Window, scored


@dataclass(frozen=True)
class Answered:
    """What a model made of one item."""

    bits: tuple[float, ...]
    """What it needed for each choice."""
    right: bool
    """The right choice needs the fewest bits; a single choice is what it would write itself."""
    right_norm: bool
    """The right choice needs the fewest bits per character."""


def answer(
    scorer: Scorer, rows: Sequence[dict[str, Any]], *, context: int, batch_tokens: int
) -> list[Answered]:
    """Return how each item was answered: `context`, `choices` that follow it, place of `answer`.

    Tokens and decisions are those of lm-evaluation-harness (`multiple_choice`; a single choice as
    its LAMBADA): nothing before the context, white space at its end moved to the choices, context
    cut on the left where both are longer than `context` tokens, lengths in characters.
    Source: Gao et al., github.com/EleutherAI/lm-evaluation-harness, `TemplateLM._encode_pair`.
    """
    context = min(context, scorer.longest or context)
    windows = [list(_windows(scorer.tokenizer, row, context)) for row in rows]
    flat = [window for each in windows for window in each]
    found = iter(scored(scorer, flat, batch_tokens))
    return [
        _answered(row, [next(found) for _ in each]) for row, each in zip(rows, windows, strict=True)
    ]


def _windows(tokenizer: Any, row: dict[str, Any], context: int) -> Iterator[Window]:
    """Yield the window of each choice: the tokens of the choice are counted."""
    before: str = row["context"]
    stripped = before.rstrip()
    for choice in row["choices"]:
        whole = _ids(tokenizer, before + choice)
        known = len(_ids(tokenizer, stripped)) if stripped else 0
        if not known:
            whole, known = [separator(tokenizer), *_ids(tokenizer, before + choice)], 1
        counted = len(whole) - known
        ids = tuple(whole[-(context + 1) :])
        yield Window(ids, max(0, len(ids) - counted - 1))


def _ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return found


def _answered(row: dict[str, Any], found: Sequence[Likelihood]) -> Answered:
    bits = tuple(likelihood.bits for likelihood in found)
    if len(bits) == 1:
        return Answered(bits, found[0].greedy, found[0].greedy)
    each = [needed / len(choice) for needed, choice in zip(bits, row["choices"], strict=True)]
    return Answered(bits, _least(bits) == row["answer"], _least(each) == row["answer"])


def _least(values: Sequence[float]) -> int:
    """Return the place of the least value, the first of equal ones."""
    return min(range(len(values)), key=values.__getitem__)
