"""Checkpoints that are whole or absent, and everything needed to go on from one."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from aurora_release import atomic
from aurora_release.errors import AuroraError
from aurora_release.recipe import Keep
from aurora_release.train.engine import rank

MANIFEST = "checkpoint.json"
_TAG = "state"


class Checkpoints:
    """The checkpoints of one stage, in a folder of their own."""

    def __init__(self, folder: Path, keep: Keep) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.keep = keep

    def save(self, engine: Any, step: int, state: dict[str, Any]) -> None:
        """Write the checkpoint after `step` steps and remove those that `keep` does not name.

        `state` is JSON that `resume` gives back. Its `bits_per_byte`, where there is one, is the
        mean over sources that `keep.best` compares.
        """
        final = self.folder / f"step-{step:09d}"
        partial = self.folder / f"{final.name}.partial"
        if rank() == 0 and partial.exists():
            shutil.rmtree(partial)
        _require_space(engine, self.folder)
        torch.distributed.barrier()
        engine.save_checkpoint(str(partial), tag=_TAG, client_state={"rng": _random_states()})
        torch.distributed.barrier()
        if rank() == 0:
            manifest = {"step": step, "state": state}
            atomic.write_text(partial / MANIFEST, json.dumps(manifest, allow_nan=False))
            if final.exists():
                shutil.rmtree(final)
            atomic.publish_folder(partial, final)
            for old in self.whole()[: -self.keep.last]:
                shutil.rmtree(old)

    def resume(self, engine: Any) -> tuple[int, dict[str, Any]]:
        """Load the newest checkpoint into `engine`; return its step and state, or 0 and {}."""
        whole = self.whole()
        if not whole:
            return 0, {}
        path, client = engine.load_checkpoint(str(whole[-1]), tag=_TAG)
        if path is None:
            raise AuroraError(
                f"{whole[-1]} could not be loaded; remove it to go on from the one before it."
            )
        torch.set_rng_state(client["rng"][rank()])
        manifest = json.loads((whole[-1] / MANIFEST).read_bytes())
        return int(manifest["step"]), dict(manifest["state"])

    def whole(self) -> list[Path]:
        """Return the folders of the finished checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.suffix != ".partial")


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
