"""On what and how a stage is trained: what may change on resume, and what bits depend on."""

import logging
from importlib import metadata
from typing import Any

import torch

from aurora_release import evidence
from aurora_release.environment import environment
from aurora_release.errors import AuroraError
from aurora_release.recipe import Train

log = logging.getLogger(__name__)

_CHOSEN = (
    "ranks", "zero", "zero_file", "micro_batch", "activation_checkpointing", "loss_chunk",
    "compile",
)  # fmt: skip


def layout(engine: Any, train: Train) -> dict[str, Any]:
    """Return everything beside the recipe that decides the bits of a step, as JSON."""
    from aurora_release.train.engine import precision, world_size

    file = {key: value for key, value in engine.config.items() if key.startswith("zero")}
    return {
        "ranks": world_size(),
        "zero": engine.zero_optimization_stage(),
        "zero_file": evidence.sha256(evidence.canonical(file))[:12],
        "micro_batch": train.micro_batch,
        "activation_checkpointing": train.activation_checkpointing,
        "loss_chunk": train.loss_chunk,
        "compile": train.compile,
        "precision": precision(train),
        "threads": torch.get_num_threads(),
        "hardware": _hardware(),
        **{name: metadata.version(name) for name in ("torch", "deepspeed", "transformers")},
    }


def require_same_bits(before: dict[str, Any], now: dict[str, Any], deterministic: bool) -> None:
    """Say what changed since a checkpoint.

    Ranks, ZeRO and micro-batch are the user's choice: the samples stay the same, the last bits do
    not. Anything else is refused unless `deterministic` is false.

    Raises:
        AuroraError: something that decides the bits changed, and nobody chose it.
    """
    changed = {key: (before.get(key), now[key]) for key in now if before.get(key) != now[key]}
    if not changed:
        return
    text = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in changed.items())
    unwanted = sorted(changed.keys() - set(_CHOSEN))
    if unwanted and deterministic:
        raise AuroraError(
            f"The checkpoint was written with another {', '.join(unwanted)} ({text}), so the run "
            "would not repeat to the bit. Go back to what it was, or add "
            "train.deterministic=false to go on all the same; the evidence will say so."
        )
    log.info("not bit-equal from here: %s; the samples stay the same", text)


def add(history: list[dict[str, Any]], step: int, now: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the layouts a stage was trained under, as `after` so many steps, with `now` last."""
    history = [entry for entry in history if entry["after"] <= step]
    if history and {**history[-1], "after": 0} == {**now, "after": 0}:
        return history
    return [*(entry for entry in history if entry["after"] < step), {"after": step, **now}]


def _hardware() -> str:
    """Return the device that multiplies and the instructions torch uses on it."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{environment()['processor']}, {torch.backends.cpu.get_cpu_capability()}"
