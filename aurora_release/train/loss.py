"""The training loss over packed samples."""

from typing import Any

import torch
from torch import Tensor

IGNORED = -100


def packed_loss(model: Any, tokens: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
    """Return the summed cross-entropy of `labels` in nats; all arguments are [rows, length].

    Documents stay apart because positions restart in each. transformers only sees that without
    a cache and without an attention mask; with either it would let documents see each other and
    say nothing, hence both are fixed here.
    """
    logits = model(
        input_ids=tokens, position_ids=positions, attention_mask=None, use_cache=False
    ).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        labels[:, 1:].flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )
