"""The log-likelihood of tokens after other tokens: what every score of text is made of."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aurora_release.errors import AuroraError

if TYPE_CHECKING:
    import torch

_ROWS = 256
"""Positions whose float32 log-probabilities exist at one time."""


@dataclass(frozen=True)
class Window:
    """A stretch of tokens that the model sees at once."""

    ids: tuple[int, ...]
    """The tokens seen and, last, one that is only predicted."""
    skip: int
    """Predictions at the start that are not counted."""


@dataclass(frozen=True)
class Likelihood:
    """What a model needed for the counted tokens of a window."""

    bits: float
    greedy: bool
    """Whether each counted token was the likeliest one."""


class Scorer(Protocol):
    """A model that gives likelihoods, in this process or behind a URL."""

    @property
    def tokenizer(self) -> Any:
        """The model's fast tokenizer (transformers)."""

    @property
    def longest(self) -> int | None:
        """Tokens that the model can see at once; None where it does not say."""

    def likelihoods(self, windows: Sequence[Window], batch_tokens: int) -> list[Likelihood]:
        """Return the likelihood of each window; at most `batch_tokens` (or one row) at a time."""


def scored(scorer: Scorer, windows: Sequence[Window], batch_tokens: int) -> list[Likelihood]:
    """Return the likelihood of each window by a scorer.

    Raises:
        AuroraError: one is no number.
    """
    found = scorer.likelihoods(windows, batch_tokens)
    for place, each in enumerate(found):
        if not math.isfinite(each.bits):
            text = scorer.tokenizer.decode(windows[place].ids)
            raise AuroraError(
                f"The model's likelihood of a text is no number ({each.bits}); it begins "
                f"{text[:40]!r}. Its weights hold such numbers, or bfloat16 overflowed: measure "
                "with --exact, and make the model again if that says the same."
            )
    return found


def likelihoods(model: Any, windows: Sequence[Window], batch_tokens: int) -> list[Likelihood]:
    """Return the likelihood of each window by a transformers model."""
    found: list[Likelihood] = [Likelihood(0.0, True)] * len(windows)
    for places in _batches(windows, batch_tokens):
        batch = [windows[place] for place in places]
        for place, likelihood in zip(places, _score(model, batch), strict=True):
            found[place] = likelihood
    return found


def _batches(windows: Sequence[Window], batch_tokens: int) -> Iterator[list[int]]:
    """Yield places of windows of like length together, the longest first."""
    batch: list[int] = []
    for place in sorted(range(len(windows)), key=lambda place: -len(windows[place].ids)):
        if batch and (len(batch) + 1) * (len(windows[batch[0]].ids) - 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _score(model: Any, batch: Sequence[Window]) -> list[Likelihood]:
    """Return the likelihood of each window of one forward pass."""
    import torch

    width = max(len(window.ids) for window in batch) - 1
    inputs = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros_like(inputs)
    targets = torch.full_like(inputs, -1)
    for row, window in enumerate(batch):
        length = len(window.ids) - 1
        inputs[row, :length] = torch.tensor(window.ids[:-1])
        mask[row, :length] = 1
        targets[row, window.skip : length] = torch.tensor(window.ids[window.skip + 1 :])
    device = model.device
    # not inference_mode: a model in training (ZeRO 3) keeps what it gathers in here
    with torch.no_grad():
        logits = model(
            input_ids=inputs.to(device), attention_mask=mask.to(device), use_cache=False
        ).logits
        return _sums(logits, targets.to(device))


def _sums(logits: "torch.Tensor", targets: "torch.Tensor") -> list[Likelihood]:
    """Return the likelihood of each row.

    `logits` are (rows, width, vocabulary), `targets` (rows, width) with -1 where nothing counts.
    """
    import torch
    from torch.nn.functional import cross_entropy

    nats = torch.zeros(targets.numel(), dtype=torch.float64, device=targets.device)
    missed = torch.zeros(targets.numel(), dtype=torch.bool, device=targets.device)
    flat, wanted = logits.flatten(0, 1), targets.flatten()
    counted = (wanted >= 0).nonzero().flatten()
    for start in range(0, len(counted), _ROWS):
        places = counted[start : start + _ROWS]
        scores = flat[places].float()
        nats[places] = cross_entropy(scores, wanted[places], reduction="none").double()
        missed[places] = scores.argmax(-1) != wanted[places]
    rows = (nats.view(targets.shape).sum(1) / math.log(2)).tolist()
    wrong = missed.view(targets.shape).any(1).tolist()
    return [Likelihood(bits, not any_wrong) for bits, any_wrong in zip(rows, wrong, strict=True)]
