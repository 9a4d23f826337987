"""How much memory a rank needs to train a model, by formula: nothing is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from aurora_release.train.estimate.flops import flops_per_token

Precision = Literal["bf16", "autocast", "fp32"]


@dataclass(frozen=True)
class Shape:
    """What of a model decides its memory; widths in elements."""

    gated: bool
    """Like llama: gated MLP and root-mean-square norms; else like gpt_bigcode."""
    layers: int
    width: int
    heads: int
    queries: int
    keys: int
    """Of the keys of all key-value heads; the values have the same."""
    inner: int
    vocabulary: int
    dropout: bool
    parameters: int
    matrices: int
    """Parameters in the matrices of all layers and the output matrix."""


def shape(config: Mapping[str, Any]) -> Shape:
    """Return the shape of a model from its `config.json`.

    Raises:
        AuroraError: the model is neither like llama nor gpt_bigcode.
    """
    cost = flops_per_token(config, 1)
    matrices = (cost.body + cost.head) // 6
    if config["model_type"] == "gpt_bigcode":
        width, heads = int(config["n_embd"]), int(config["n_head"])
        return Shape(
            False, int(config["n_layer"]), width, heads, width,
            width // heads if config.get("multi_query", True) else width,
            int(config.get("n_inner") or 4 * width), int(config["vocab_size"]),
            bool(config.get("resid_pdrop", 0.1)), cost.parameters, matrices,
        )  # fmt: skip
    width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    size = int(config.get("head_dim") or width // heads)
    keys = int(config.get("num_key_value_heads") or heads) * size
    return Shape(
        True, int(config["num_hidden_layers"]), width, heads, heads * size, keys,
        int(config["intermediate_size"]), int(config["vocab_size"]), False,
        cost.parameters, matrices,
    )  # fmt: skip


@dataclass(frozen=True)
class How:
    """How a model is trained, as far as it decides memory."""

    precision: Precision
    zero: int
    """ZeRO stage, 0 to 3."""
    ranks: int
    micro_batch: int
    length: int
    """Tokens in a sequence."""
    checkpointing: bool = False
    loss_chunk: int | None = None
    accumulates: bool = False
    """Whether a step has more than one micro-batch."""
    offload: bool = False
    """Optimizer states and the gradients of the own partition in the host's memory."""
    accelerator: bool = False
    """On a GPU DeepSpeed's buckets are taken whole; a CPU gives only pages that are touched."""


@dataclass(frozen=True)
class Memory:
    """Bytes of one rank at the moment it needs most."""

    parameters: float
    optimizer: float
    """fp32 master weights and both moments of AdamW."""
    gradients: float
    activations: float
    logits: float
    buffers: float
    """DeepSpeed's buckets and gathered parameters; copies of gradients in the optimizer step."""
    host: float
    """In the host's memory, for a rank."""

    @property
    def total(self) -> float:
        """On the device."""
        return (
            self.parameters + self.optimizer + self.gradients
            + self.activations + self.logits + self.buffers
        )  # fmt: skip


# DeepSpeed's defaults, in elements (deepspeed/runtime/zero/config.py of 0.19.8)
_BUCKET = 500_000_000
_LIVE = 1_000_000_000
_SUBGROUP = 1_000_000_000

_SUMS = 2**24
"""Bytes of logits that the loss has in fp32 at one time (`aurora_release/train/loss.py`)."""


def memory(model: Shape, how: How) -> Memory:
    """Return the most a rank needs: in the backward pass, or in the optimizer step.

    Excluded: the process itself (libraries, CUDA context), NCCL, and the allocator's gaps.
    """
    backward, step = _backward(model, how), _step(model, how)
    return max(backward, step, key=lambda found: found.total)


def _backward(model: Shape, how: How) -> Memory:
    """Return the memory when the backward pass begins, or in the layer it recomputes last."""
    start = replace(
        _kept(model, how),
        gradients=_gradients(model, how) if how.accumulates or how.zero == 3 else 0.0,
        activations=activations(model, how),
        logits=logits(model, how),
        buffers=_buckets(model, how),
    )
    if not how.checkpointing:
        return start
    # the first layer: its gradients come last, its activations are all there once more
    last = replace(
        start,
        gradients=_gradients(model, how),
        activations=start.activations + 1.5 * how.micro_batch * how.length * _layer(model, how),
        logits=0.0,
    )
    return max(start, last, key=lambda found: found.total)


def _step(model: Shape, how: How) -> Memory:
    """Return the memory of the optimizer step, or of the end of the backward pass before it."""
    size = _bytes(how)
    wide = 4 if how.precision == "bf16" else 0
    kept = _kept(model, how)
    mine = model.parameters / how.ranks
    if how.offload:
        return replace(kept, gradients=_gradients(model, how), buffers=_buckets(model, how))
    if how.zero == 0:
        return replace(kept, gradients=_gradients(model, how), buffers=wide * model.parameters)
    if how.zero == 3:
        copies = (size + wide) * min(mine, _SUBGROUP) if wide else size * min(mine, _SUBGROUP)
        return replace(
            kept, gradients=_gradients(model, how), buffers=_buckets(model, how) + copies
        )
    whole = replace(kept, gradients=_gradients(model, how), buffers=_buckets(model, how))
    own = replace(kept, gradients=size * mine, buffers=(size + wide) * mine)
    return max(whole, own, key=lambda found: found.total)


def _kept(model: Shape, how: How) -> Memory:
    """Return what stays from step to step: weights and optimizer states."""
    number, size = model.parameters, _bytes(how)
    mine = number if how.zero == 0 else number / how.ranks
    # without ZeRO fp32 weights are their own master copy; ZeRO keeps a second one all the same
    master = 0 if how.zero == 0 and how.precision != "bf16" else 4
    states = (master + 8) * mine
    return Memory(
        parameters=size * (mine if how.zero == 3 else number),
        optimizer=0.0 if how.offload else states,
        gradients=0.0, activations=0.0, logits=0.0, buffers=0.0,
        host=states + 4 * mine if how.offload else 0.0,
    )  # fmt: skip


def _gradients(model: Shape, how: How) -> float:
    """Return the gradients at the end of a backward pass."""
    share = how.ranks if how.zero >= 2 else 1
    if how.offload and how.zero >= 2:
        return 0.0
    return _bytes(how) * model.parameters / share


def _buckets(model: Shape, how: How) -> float:
    """Return what DeepSpeed gathers parameters and gradients in."""
    if how.zero == 0:
        return 0.0
    bucket = _BUCKET if how.accelerator else min(model.parameters, _BUCKET)
    live = min(model.parameters, _LIVE) if how.ranks > 1 else 0
    if how.zero == 3:
        return _bytes(how) * (bucket + live)
    # ours of stage 2 overlaps, which takes two
    return _bytes(how) * bucket * how.zero if how.accelerator else 0.0


def activations(model: Shape, how: How) -> float:
    """Return what autograd keeps of a micro-batch, logits apart, in bytes."""
    tokens = how.micro_batch * how.length
    a = 2 if how.precision == "bf16" else 4
    ends = a * model.width * (1 + model.dropout) + 16
    ends += 2 * a * model.width if not model.gated else _norm(how) * model.width
    if how.checkpointing:
        return tokens * (ends + model.layers * a * model.width)
    cached = 2 * model.matrices if how.precision == "autocast" else 0
    return tokens * (ends + model.layers * _layer(model, how)) + cached


def logits(model: Shape, how: How) -> float:
    """Return the bytes of the loss at its peak: its gradient is written over the logits."""
    tokens, size = how.micro_batch * how.length, 4 if how.precision == "fp32" else 2
    rows = min(tokens, how.loss_chunk or tokens)
    states = 0 if how.loss_chunk is None else 2 * size * tokens * model.width
    return size * rows * model.vocabulary + states + 3 * min(_SUMS, 4 * rows * model.vocabulary)


def _layer(model: Shape, how: How) -> float:
    """Return what autograd keeps of one layer, in bytes a token (no dense attention mask)."""
    a = 4 if how.precision == "fp32" else 2
    # queries, keys, values, the answers of each document and of all, and fp32 log-sums
    attention = a * (3 * model.queries + 2 * model.keys) + 4 * model.heads
    if model.gated:
        casts = 10 if how.precision == "autocast" else 0
        return (2 * _norm(how) + casts) * model.width + attention + 4 * a * model.inner
    norms = {"fp32": 16, "bf16": 8, "autocast": 12}[how.precision]
    noise = 2 * a if model.dropout else 0
    return (norms + noise) * model.width + attention + 2 * a * model.inner


def _norm(how: How) -> int:
    """Return what a root-mean-square norm keeps, in bytes an element: it computes in fp32."""
    return {"fp32": 12, "bf16": 8, "autocast": 8}[how.precision]


def _bytes(how: How) -> int:
    """Return the bytes of a weight."""
    return 2 if how.precision == "bf16" else 4
