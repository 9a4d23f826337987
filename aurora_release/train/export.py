"""Writes the trained weights as a normal HF folder, and certifies that it holds them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aurora_release.errors import AuroraError
from aurora_release.train.engine import meet, rank

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
)
_SHARD = "5GB"
_PROBE = (2, 32)
# logits of the same weights by the same code: rounding at most, far from any other wiring
_ROUNDING = 2.0**-6


def export(engine: Any, source: Path, folder: Path, shard: str = _SHARD) -> dict[str, Any]:
    """Write bf16 safetensors, configuration, tokenizer and chat template; return the certificate.

    The weights in `engine` are rounded to bf16, as those in the folder are. ZeRO 3 is gathered a
    parameter at a time, and only rank 0 holds more than its part.

    Raises:
        AuroraError: the folder does not hold what the engine holds.
    """
    weights = dict(_weights(engine))
    if rank() == 0:
        _save(engine.module, weights, folder, shard)
        _copy_tokenizer(source, folder)
    meet()
    logits = _logits(engine.module, engine.device)
    return certify(engine.module, weights, logits, folder) if rank() == 0 else {}


def write(model: Any, source: Path, folder: Path) -> dict[str, Any]:
    """Write a model that lies in no engine, its weights rounded to bf16; return its certificate.

    Raises:
        AuroraError: the folder does not hold what the model holds.
    """
    weights = {}
    for name, weight in _state(model):
        kind = torch.bfloat16 if weight.is_floating_point() else weight.dtype
        # rounded in place: a cast of the whole model would round what its positions turn by, too
        weights[name] = weight.detach().to("cpu", kind)
        weight.data.copy_(weights[name])
    _save(model, weights, folder, _SHARD)
    _copy_tokenizer(source, folder)
    return certify(model, weights, _logits(model, model.device), folder)


def _copy_tokenizer(source: Path, folder: Path) -> None:
    for name in _TOKENIZER:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def certify(
    module: Any, weights: dict[str, Tensor], logits: Tensor, folder: Path
) -> dict[str, Any]:
    """Load `folder` as anyone would and return how it compares with what was trained.

    `weights` are the tensors that were exported, and `logits` those of `module` with them on the
    fixed tokens of the probe.

    Raises:
        AuroraError: a tensor differs in a bit, is missing, or the logits are of another model.
    """
    from transformers import AutoModelForCausalLM

    kind = next(iter(module.parameters())).dtype
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=kind, use_safetensors=True)
    found = dict(_state(loaded))
    wrong = sorted(found.keys() ^ weights.keys())
    wrong += [name for name in found.keys() & weights.keys()
              if not torch.equal(found[name].to(weights[name].dtype), weights[name])]  # fmt: skip
    if wrong:
        raise _unequal(folder, f"differs in {len(wrong)} tensors, such as {wrong[0]}")
    loaded.set_attn_implementation(module.config._attn_implementation)
    difference = (_logits(loaded.to(logits.device), logits.device) - logits).abs().max()
    scale = float(logits.abs().max())
    if not float(difference) <= _ROUNDING * scale:
        raise _unequal(folder, f"gives other logits (by {float(difference):.3g} of {scale:.3g})")
    return {
        "tensors": len(found),
        "parameters": sum(weight.numel() for weight in found.values()),
        "files": len(list(folder.glob("*.safetensors"))),
        "tensors_equal": True,
        "logits_equal": not float(difference),
        "largest_logit_difference": float(difference),
        "probe": list(_PROBE),
    }


def _weights(engine: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield names and bf16 tensors in CPU memory on rank 0; round the engine's to the same."""
    import deepspeed

    sharded = engine.zero_optimization_stage() == 3
    with torch.no_grad():
        for name, weight in _state(engine.module):
            split = [weight] if sharded and hasattr(weight, "ds_id") else []
            with deepspeed.zero.GatheredParameters(split, modifier_rank=0, enabled=bool(split)):
                if weight.is_floating_point():
                    weight.copy_(weight.bfloat16())
                if rank() == 0:
                    kind = torch.bfloat16 if weight.is_floating_point() else weight.dtype
                    part = weight.detach().to("cpu", kind)
                    yield name, part.clone() if split else part


def _state(module: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield what a saved model holds: parameters, tied ones once, and persistent buffers."""
    yield from module.named_parameters()
    kept = module.state_dict().keys()
    yield from ((name, buffer) for name, buffer in module.named_buffers() if name in kept)


def _save(module: Any, weights: dict[str, Tensor], folder: Path, shard: str) -> None:
    """Write the model's files, with a configuration that names bf16 and allows a cache."""
    module.save_pretrained(folder, state_dict=dict(weights), max_shard_size=shard)
    cached, module.config.use_cache = module.config.use_cache, True
    kind, module.config.dtype = module.config.dtype, "bfloat16"
    module.config.save_pretrained(folder)
    module.config.use_cache, module.config.dtype = cached, kind
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner can read


def _logits(module: Any, device: torch.device) -> Tensor:
    """Return the logits of fixed tokens, spread over the vocabulary."""
    size = module.config.get_text_config().vocab_size
    tokens = (torch.arange(_PROBE[0] * _PROBE[1], device=device) * 7919 + 11) % size
    with torch.no_grad(), _evaluating(module):
        logits: Tensor = module(input_ids=tokens.view(_PROBE), use_cache=False).logits
    return logits.float()


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _unequal(folder: Path, what: str) -> AuroraError:
    return AuroraError(
        f"{folder}: the exported model {what} from the one that was trained. The checkpoints "
        "stay: check the disk and run the same command again; if it says so twice, it is a bug."
    )
