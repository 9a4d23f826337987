"""Code tasks: programs that a model completes, run against their tests in the sandbox."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from aurora_release.evaluate import sandbox
from aurora_release.evaluate.generate import Gap, Model, Sampling, continuations

_STOP = ("\ndef ", "\nclass ", "\nif __name__", "\nprint(", "\n```")
"""Where a completed function ends, unless an item has its own `stop`."""
_AT_ONCE = 2


@dataclass(frozen=True)
class Attempts:
    """What became of a model's programs for one problem."""

    completions: tuple[str, ...]
    outcomes: tuple[sandbox.Outcome, ...]

    @property
    def passed(self) -> int:
        """Programs that passed their tests."""
        return self.outcomes.count("passed")


def solve(
    model: Model, rows: Sequence[dict[str, Any]], how: Sampling, limits: sandbox.Limits
) -> Iterator[Attempts]:
    """Yield what became of the programs for each item: `prompt`, `tests`, `suffix` and `stop`.

    A program is the prompt, what the model writes, the suffix and the tests.

    Raises:
        AuroraError: this machine allows no sandbox; the program was not run.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for row in rows:
            completions = continuations(model, _gap(row), how)
            after = f"{row.get('suffix', '')}\n{row['tests']}\n"
            programs = [row["prompt"] + text + after for text in completions]
            outcomes = pool.map(lambda program: sandbox.run(program, limits), programs)
            yield Attempts(tuple(completions), tuple(outcomes))


def _gap(row: dict[str, Any]) -> Gap:
    """Return what an item asks for; before known code nothing but its own `stop` ends it."""
    stop = row.get("stop", () if "suffix" in row else _STOP)
    return Gap(row["prompt"], row.get("suffix"), tuple(stop))


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Return the chance that one of `k` of the samples passes, without bias.

    Source: Chen et al. 2021, arXiv:2107.03374, section 2.1.
    """
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)
