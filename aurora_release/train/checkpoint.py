"""Checkpoints that are whole or absent, and everything needed to go on from one."""

import shutil
from pathlib import Path
from typing import Any

import torch

from aurora_release import atomic
from aurora_release.errors import AuroraError
from aurora_release.train.engine import rank

_TAG = "state"


def save(engine: Any, folder: Path, step: int, keep: int) -> None:
    """Write the checkpoint after `step` steps and remove all but the last `keep`."""
    final = folder / f"step-{step:09d}"
    partial = folder / f"{final.name}.partial"
    if rank() == 0 and partial.exists():
        shutil.rmtree(partial)
    _require_space(engine, folder)
    torch.distributed.barrier()
    engine.save_checkpoint(
        str(partial), tag=_TAG, client_state={"step": step, "rng": _random_states()}
    )
    torch.distributed.barrier()
    if rank() == 0:
        if final.exists():
            shutil.rmtree(final)
        atomic.publish_folder(partial, final)
        for old in _whole(folder)[:-keep]:
            shutil.rmtree(old)


def resume(engine: Any, folder: Path) -> int:
    """Load the last whole checkpoint into `engine` and return its step, or 0 if there is none."""
    whole = _whole(folder)
    if not whole:
        return 0
    path, state = engine.load_checkpoint(str(whole[-1]), tag=_TAG)
    if path is None:
        raise AuroraError(
            f"{whole[-1]} could not be loaded; remove it to go on from the checkpoint before it."
        )
    torch.set_rng_state(state["rng"][rank()])
    return int(state["step"])


def _whole(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if path.suffix != ".partial")


def _random_states() -> list[torch.Tensor]:
    """Return every rank's random state; the checkpoint's client state is rank 0's alone."""
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, torch.get_rng_state())
    return states


def _require_space(engine: Any, folder: Path) -> None:
    """Refuse to begin a checkpoint that cannot fit: weights, fp32 weights and two moments."""
    weights = sum(weight.numel() for weight in engine.module.parameters())
    needed, free = weights * 14, shutil.disk_usage(folder).free
    if free < needed:
        raise AuroraError(
            f"A checkpoint needs {needed / 1e9:.1f} GB in {folder}, and {free / 1e9:.1f} GB are "
            "free. Make room and run the same command again; finished stages stay."
        )
