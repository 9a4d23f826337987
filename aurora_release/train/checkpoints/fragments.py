"""Where the weights and moments that a rank owns lie, whatever the ZeRO stage."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fragment:
    """A stretch of one parameter, within a tensor that this rank's optimizer steps on."""

    name: str
    begin: int
    """Its first element, counted in the flattened parameter."""
    count: int
    owner: int
    """Number of the tensor in `Owned.tensors`."""
    offset: int
    """Its first element in that tensor."""


@dataclass(frozen=True)
class Owned:
    """What this rank owns: fp32 tensors, what the optimizer keeps of each, and the map."""

    tensors: list[Tensor]
    optimizer: torch.optim.Optimizer
    fragments: list[Fragment]

    def step(self) -> float:
        """Return how many steps the optimizer has taken."""
        steps = {float(self.optimizer.state[tensor]["step"]) for tensor in self.tensors}
        assert len(steps) == 1, steps
        return steps.pop()

    def moments(self, number: int) -> dict[str, Tensor]:
        """Return what the optimizer keeps of a tensor, such as {"exp_avg": ..., ...}."""
        tensor = self.tensors[number]
        return {
            key: value
            for key, value in sorted(self.optimizer.state.get(tensor, {}).items())
            if isinstance(value, Tensor) and value.shape == tensor.shape
        }


def owned(engine: Any) -> Owned:
    """Return what this rank owns of a DeepSpeed engine."""
    names = {
        weight: name.replace("_orig_mod.", "")  # torch.compile's name for what it wraps
        for name, weight in engine.module.named_parameters()
    }
    stage = engine.zero_optimization_stage()
    if stage == 3:
        tensors = list(engine.optimizer.fp32_partitioned_groups_flat)
        found = _partitioned(engine.optimizer, names)
    elif stage:
        tensors = [group["params"][0] for group in engine.basic_optimizer.param_groups]
        found = _sharded(names)
    else:
        tensors = [tensor for group in engine.basic_optimizer.param_groups
                   for tensor in group["params"]]  # fmt: skip
        found = _whole(engine.optimizer, names)
    return Owned(tensors, engine.basic_optimizer, list(found))


def prepare(engine: Any) -> None:
    """Release what ZeRO-3 has gathered, so that its fragments may be written over."""
    if engine.zero_optimization_stage() == 3:
        engine.optimizer.checkpoint_event_prologue()


def refresh(engine: Any) -> None:
    """Bring the weights of the module up to the fp32 tensors that were written over."""
    optimizer = engine.optimizer
    if engine.zero_optimization_stage() == 3:
        for number in range(len(optimizer.fp32_partitioned_groups_flat)):
            optimizer._reassign_or_swap_out_partitioned_parameters(number)
        optimizer.checkpoint_event_epilogue()
    elif hasattr(optimizer, "update_lp_params"):
        optimizer.update_lp_params()
    elif hasattr(optimizer, "fp16_groups"):
        for low, high in zip(optimizer.fp16_groups, optimizer.fp32_groups, strict=True):
            for weight, master in zip(low, high, strict=True):
                weight.data.copy_(master.data)


def _whole(optimizer: Any, names: dict[Tensor, str]) -> Iterator[Fragment]:
    """Yield whole parameters: no ZeRO, every rank owns everything."""
    groups = getattr(optimizer, "fp16_groups", None)
    groups = groups or [group["params"] for group in optimizer.param_groups]
    weights = [weight for group in groups for weight in group]
    for owner, weight in enumerate(weights):
        yield Fragment(names[weight], 0, weight.numel(), owner, 0)


def _sharded(names: dict[Tensor, str]) -> Iterator[Fragment]:
    """Yield the parts of the flat groups of ZeRO 1 and 2 that this rank steps on."""
    for weight, name in names.items():
        mapping = getattr(weight, "_hp_mapping", None)
        if mapping is not None:
            low, high = mapping.lp_fragment_address, mapping.hp_fragment_address
            yield Fragment(name, low.start, low.numel, mapping.param_group_index, high.start)


def _partitioned(optimizer: Any, names: dict[Any, str]) -> Iterator[Fragment]:
    """Yield this rank's slice of every parameter of ZeRO 3, without the padding of the last."""
    rank = torch.distributed.get_rank()
    for weight, name in names.items():
        if weight.requires_grad:
            owner, offset, size = optimizer.grad_position[optimizer.get_param_id(weight)]
            begin = rank * size
            count = min(size, weight.ds_numel - begin)
            if count > 0:
                yield Fragment(name, begin, count, owner, offset)
