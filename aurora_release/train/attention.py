"""Attention inside documents: packed rows that need no mask of length by length."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

NAME = "documents"
"""What `attn_implementation` of a transformers model says."""

_SHORT = 384


def register() -> None:
    """Make `documents` known to transformers, as attention and as mask."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, bounds)


def bounds(
    *,
    batch_size: int,
    q_length: int,
    kv_length: int,
    mask_function: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    attention_mask: Tensor | None = None,
    allow_is_causal_skip: bool = True,
    use_vmap: bool = False,
    **more: Any,
) -> Tensor | None:
    """Return where documents begin in the flattened rows, and the end: [documents + 1] int32.

    transformers describes a mask by a function of two places. In packed rows a token that does not
    see the token before it begins a document. Anything else that wants a mask (padding, a cache, a
    row that is one document) gets transformers' own.
    """
    if attention_mask is not None or allow_is_causal_skip or use_vmap or q_length != kv_length:
        from transformers.masking_utils import sdpa_mask

        own: Tensor | None = sdpa_mask(
            batch_size=batch_size, q_length=q_length, kv_length=kv_length,
            mask_function=mask_function, attention_mask=attention_mask,
            allow_is_causal_skip=allow_is_causal_skip, use_vmap=use_vmap, **more,
        )  # fmt: skip
        return own
    places = torch.arange(q_length, device=more["device"])
    rows = torch.arange(batch_size, device=more["device"])[:, None]
    joined = mask_function(rows, torch.zeros_like(rows), places[None, 1:], places[None, :-1])
    begins = torch.nn.functional.pad(~joined, (1, 0), value=True).flatten()
    end = torch.tensor([begins.numel()], device=begins.device)
    return torch.cat([begins.nonzero().flatten(), end]).int()


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Return causal attention, [rows, length, heads, size], in which documents do not meet.

    `query` is [rows, heads, length, size]; `key` and `value` may have fewer heads. With `bounds`
    for a mask, on CUDA one kernel does all documents, elsewhere each is a call of its own, whose
    result therefore cannot depend on another document, not in one bit.
    """
    if attention_mask is None or attention_mask.ndim != 1:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **more
        )
        return found, None
    rows, _, length, _ = query.shape
    flat = tuple(part.transpose(1, 2).flatten(0, 1) for part in (query, key, value))
    half = value.dtype in (torch.bfloat16, torch.float16)
    if query.is_cuda and half and not dropout:
        joint = _kernel(flat, attention_mask, length, scaling)
    else:
        joint = _one_by_one(flat, attention_mask, dropout, scaling)
    return joint.view(rows, length, *joint.shape[1:]), None


def _kernel(
    flat: tuple[Tensor, ...], bounds: Tensor, longest: int, scaling: float | None
) -> Tensor:
    """Return the attention of all documents by the flash kernel for unequal lengths."""
    from torch.nn.attention.varlen import varlen_attn

    value = flat[2]
    query, key = (part.to(value.dtype) for part in flat[:2])  # autocast rotates in fp32
    found = varlen_attn(
        query, key, value, bounds, bounds, longest, longest,
        scale=scaling, window_size=(-1, 0), enable_gqa=True,
    )  # fmt: skip
    assert isinstance(found, Tensor)  # a pair only where more was asked for
    return found


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _one_by_one(
    flat: tuple[Tensor, ...], bounds: Tensor, dropout: float, scaling: float | None
) -> Tensor:
    """Return the attention of each document, one call after another: [tokens, heads, size]."""
    sizes = bounds.diff().tolist()
    kind, device = flat[2].dtype, flat[0].device.type
    found = []
    with torch.autocast(device, enabled=False):
        for parts in zip(*(torch.split(part, sizes) for part in flat), strict=True):
            # torch's bf16 kernel for CPUs is slower than the fp32 one on short documents
            wide = device == "cpu" and kind == torch.bfloat16 and len(parts[0]) < _SHORT
            query, key, value = (
                part.to(torch.float32 if wide else kind).transpose(0, 1).unsqueeze(0)
                for part in parts
            )
            one = scaled_dot_product_attention(
                query, key, value, None, dropout, True, scale=scaling, enable_gqa=True
            )
            found.append(one.squeeze(0).transpose(0, 1).to(kind))
    return torch.cat(found)
