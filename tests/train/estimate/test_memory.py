"""The memory that is computed is the memory that tensors take."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from aurora_release.train.estimate.memory import How, activations, memory, shape
from aurora_release.train.model import attend_per_document

ROWS, LENGTH = 2, 512


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_bigcode"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "autocast"])
def test_activations_are_what_autograd_keeps(
    kind: str, precision: Any, request: pytest.FixtureRequest
) -> None:
    config = AutoConfig.from_pretrained(request.getfixturevalue(kind))
    config.use_cache = False
    if kind == "tiny_bigcode":
        config.attn_pdrop = 0.0
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_config(config, dtype=dtype).train()
    attend_per_document(model)
    # documents long enough that attention is in the precision of the rest
    positions = (torch.arange(LENGTH) % 448).repeat(ROWS, 1)
    with _kept(model) as sizes, torch.autocast("cpu", enabled=precision == "autocast"):
        model.base_model(torch.zeros(ROWS, LENGTH, dtype=torch.long), position_ids=positions)
    how = How(precision, 0, 1, ROWS, LENGTH)
    assert activations(shape(config.to_dict()), how) == pytest.approx(sum(sizes.values()), rel=0.1)


@contextmanager
def _kept(model: torch.nn.Module) -> Iterator[dict[int, int]]:
    """Collect the bytes of each storage that autograd keeps, weights apart."""
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    sizes: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes


def _how(**changes: Any) -> How:
    plain = {"precision": "bf16", "zero": 1, "ranks": 8, "micro_batch": 1, "length": 2048}
    return How(**(plain | changes))


def test_memory_falls_with_the_zero_stage_and_with_recomputation(tiny_llama: Path) -> None:
    model = shape(AutoConfig.from_pretrained(tiny_llama).to_dict())
    states = [memory(model, _how(zero=zero)) for zero in (0, 1, 2, 3)]
    assert states[0].optimizer == 8 * states[1].optimizer == 12 * model.parameters
    assert states[3].parameters == states[0].parameters / 8
    kept, again = memory(model, _how()), memory(model, _how(checkpointing=True))
    assert again.activations < kept.activations
    moved = memory(model, _how(zero=2, offload=True))
    assert moved.optimizer == 0
    assert moved.host >= 12 * model.parameters / 8
