"""Loads a model for training: type of its weights, attention, memory and speed options."""

import logging
from pathlib import Path
from typing import Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from aurora_release.errors import AuroraError
from aurora_release.recipe import Train
from aurora_release.train import adapters, attention
from aurora_release.train.engine import precision

log = logging.getLogger(__name__)

_OTHER_ATTENTION = ("sliding_window", "attention_chunk_size", "attn_logit_softcapping")
_SCALED_LOGITS = ("logit_scale", "logits_scaling", "final_logit_softcapping")


def load(source: Path, train: Train) -> Any:
    """Return the model in `source`, ready for an engine.

    Raises:
        AuroraError: `train.loss_chunk` is set and the model does more than multiply to get logits,
            or `train.lora.targets` names no layer.
    """
    kind = torch.bfloat16 if precision(train) == "bf16" else torch.float32
    model = adapters.load(source, train.lora, kind)
    model.config.use_cache = False
    if train.loss_chunk is not None:
        _require_plain_head(model)
    attend_per_document(model)
    if train.activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if train.lora:
        model = adapters.add(model, train.lora)
    if train.compile:
        for layer in layers(model):
            layer.compile()
    return model.train()


def attend_per_document(model: Any) -> bool:
    """Give `model` attention per document where it can have it; return whether it has it now."""
    name = type(model).__name__
    other = [key for key in _OTHER_ATTENTION if getattr(model.config, key, None)]
    if not model._supports_attention_backend or other:
        why = f"its attention has {', '.join(other)}" if other else "its attention is its own"
        log.info("%s keeps documents apart with a mask: %s; slower, and right", name, why)
        return False
    attention.register()
    model.set_attn_implementation(attention.NAME)
    return True


def attends_per_document(model: Any) -> bool:
    """Return whether attention in `model` costs what its documents cost, however they lie."""
    return bool(model.config._attn_implementation == attention.NAME)


def layers(model: Any) -> list[torch.nn.Module]:
    """Return the decoder layers of a transformers model, in order."""
    return [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]


def _require_plain_head(model: Any) -> None:
    scaled = [key for key in _SCALED_LOGITS if getattr(model.config, key, None)]
    if scaled:
        raise AuroraError(
            f"train.loss_chunk needs logits that are the output of the head; this model's "
            f"configuration has {', '.join(scaled)}. Remove train.loss_chunk."
        )
