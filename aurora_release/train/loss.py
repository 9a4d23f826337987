"""The training loss over packed samples."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

IGNORED = -100

_NUMBERS = 2**22
"""Logits that are fp32 at one time: 16 MB, which caches hold."""


def packed_loss(
    model: Any, tokens: Tensor, positions: Tensor, labels: Tensor, chunk: int | None = None
) -> Tensor:
    """Return the summed cross-entropy of `labels` in nats; all arguments are [rows, length].

    Documents stay apart because positions restart in each. transformers only sees that without
    a cache and without an attention mask; with either it would let documents see each other and
    say nothing, hence both are fixed here. The head is computed where there is a label, for
    `chunk` labels at one time and again in the backward pass if `chunk` is given.
    """
    targets = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    kept = targets != IGNORED
    wanted = targets[kept]
    inputs = {
        "input_ids": tokens, "position_ids": positions, "attention_mask": None, "use_cache": False
    }  # fmt: skip
    if chunk is None:
        logits = model(**inputs, logits_to_keep=kept).logits
        return cross_entropy(logits, wanted)
    states = model(**inputs, logits_to_keep=1, output_hidden_states=-1).hidden_states[-1][kept]
    return _in_chunks(model, states, wanted, chunk)


def cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the summed cross-entropy in nats of `wanted` [labels] under `logits` [labels, tokens].

    Sums are in fp32 whatever the logits are in, without an fp32 copy of them, and the gradient is
    written over the logits: after `backward()` they are no logits any more.
    """
    return _CrossEntropy.apply(logits, wanted)  # type: ignore[no-any-return,no-untyped-call]


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, wanted: Tensor) -> Tensor:
        rows = _rows(logits)
        norms = torch.cat([part.float().logsumexp(-1) for part in torch.split(logits, rows)])
        ctx.save_for_backward(logits, wanted, norms)
        return (norms - logits.gather(1, wanted[:, None]).squeeze(1)).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        saved = ctx.saved_tensors
        logits = saved[0]
        rows = _rows(logits)
        for part, target, norm in zip(*(torch.split(one, rows) for one in saved), strict=True):
            share = part.float().sub_(norm[:, None]).exp_()
            share.scatter_add_(1, target[:, None], share.new_full((len(target), 1), -1.0))
            part.copy_(share.mul_(grad))
        return logits, None


def _rows(logits: Tensor) -> int:
    return max(1, _NUMBERS // logits.shape[-1])


def _in_chunks(model: Any, states: Tensor, wanted: Tensor, chunk: int) -> Tensor:
    """Return the loss of `states` [labels, width] with the logits of `chunk` rows at one time."""
    head = getattr(model, "module", model).get_output_embeddings()
    # DeepSpeed casts inside its engine's forward, and the head is called outside of it here
    casts = bool(getattr(model, "torch_autocast_enabled", bool)())

    def part(rows: Tensor, targets: Tensor) -> Tensor:
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=casts):
            return cross_entropy(head(rows), targets)

    parts = zip(torch.split(states, chunk), torch.split(wanted, chunk), strict=True)
    losses = [checkpoint(part, *pair, use_reentrant=False) for pair in parts]
    return torch.stack(losses).sum() if losses else states.sum() * 0
