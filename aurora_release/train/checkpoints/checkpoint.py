"""Checkpoints that are whole or absent, and everything needed to go on from one.

A rank writes what it owns (`fragments.py`) beside a map of it. Who resumes reads the stretches it
owns now out of whatever files hold them, so any number of ranks and any ZeRO stage can go on from
any other, and nothing is converted. DeepSpeed's own format can neither leave nor enter ZeRO 0.
"""

import hashlib
import json
import logging
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from aurora_release import atomic, evidence
from aurora_release.errors import AuroraError
from aurora_release.recipe import Keep
from aurora_release.train.checkpoints import layout, shards
from aurora_release.train.checkpoints.fragments import Owned, owned
from aurora_release.train.engine import agreed, rank, world_size

log = logging.getLogger(__name__)

MANIFEST = "checkpoint.json"


class Checkpoints:
    """The checkpoints of one stage, in a folder of their own."""

    def __init__(
        self, folder: Path, keep: Keep, now: dict[str, Any], deterministic: bool = True
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.keep = keep
        self.deterministic = deterministic
        self.history = layout.add([], 0, now)
        """The layouts the stage was trained under so far; the last is the present one."""
        self.needed: frozenset[int] = frozenset()
        """Steps whose checkpoints stay to the end, whatever `keep` says."""
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def save(self, engine: Any, step: int, state: dict[str, Any]) -> None:
        """Write the checkpoint after `step` steps and remove those that `keep` does not name.

        `state` is JSON that `resume` gives back. Its `bits_per_byte`, where there is one, is the
        mean over sources that `keep.best` compares. The files are written when this returns;
        their digests, the rename and the pruning follow in a thread (`settle` waits for it).
        """
        self.settle()
        partial = self._folder(step).with_suffix(".partial")
        mine = owned(engine)
        _require_space(mine, self.folder)
        if rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
        torch.distributed.barrier()
        shards.write(mine, partial, replicated=engine.zero_optimization_stage() == 0)
        torch.distributed.barrier()
        if rank() == 0:
            manifest = {"step": step, "layouts": self.history, "state": state}
            self._pending = self._pool.submit(self._publish, partial, manifest)

    def settle(self) -> None:
        """Wait until the last checkpoint is on disk, and raise what went wrong with it."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def resume(self, engine: Any) -> tuple[int, dict[str, Any]]:
        """Load the newest checkpoint into `engine`; return its step and state, or 0 and {}.

        Raises:
            AuroraError: something that decides the bits changed since it was written.
        """
        self.settle()
        torch.distributed.barrier()
        for folder in reversed(self.whole()):
            manifest = _manifest(folder)
            broken = manifest is None or _broken(folder, manifest["files"])
            if agreed(bool(broken)) or manifest is None:
                log.warning("%s is damaged%s: the checkpoint before it is used", folder.name,
                            f" ({broken})" if isinstance(broken, str) else "")  # fmt: skip
                continue
            now = self.history[-1]
            before = manifest["layouts"][-1]
            layout.require_same_bits(_bare(before), _bare(now), self.deterministic)
            shards.read(engine, folder)
            if before["ranks"] == world_size():
                shards.restore_chance(folder)
            else:
                torch.manual_seed(torch.initial_seed() + manifest["step"])
            self.history = layout.add(manifest["layouts"], manifest["step"], _bare(now))
            return int(manifest["step"]), dict(manifest["state"])
        return 0, {}

    def whole(self) -> list[Path]:
        """Return the folders of the finished checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.suffix != ".partial")

    def at(self, step: int) -> Path:
        """Return the folder of the checkpoint after `step` steps.

        Raises:
            AuroraError: it is missing or damaged.
        """
        self.settle()
        torch.distributed.barrier()
        folder = self._folder(step)
        manifest = _manifest(folder)
        if agreed(manifest is None or bool(_broken(folder, manifest["files"]))):
            raise AuroraError(
                f"{folder} is missing or damaged, and train.average needs it. Run the stage again "
                "with --redo, or set train.average to 1."
            )
        return folder

    def remove(self) -> None:
        """Remove all checkpoints, once the stage is done and exported."""
        self.settle()
        if rank() == 0:
            shutil.rmtree(self.folder)

    def _publish(self, partial: Path, manifest: dict[str, Any]) -> None:
        """Give a written checkpoint its manifest and its name, then remove what is not kept."""
        files = evidence.digests(partial)
        content = json.dumps({**manifest, "files": files}, allow_nan=False, sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()
        atomic.write_text(partial / MANIFEST, f"{digest}\n{content}\n")
        final = partial.with_suffix("")
        if final.exists():
            shutil.rmtree(final)
        atomic.publish_folder(partial, final)
        whole = self.whole()
        kept = _kept(whole, self.keep) | {self._folder(step) for step in self.needed}
        for folder in set(whole) - kept:
            shutil.rmtree(folder)

    def _folder(self, step: int) -> Path:
        return self.folder / f"step-{step:09d}"


def _kept(whole: list[Path], keep: Keep) -> set[Path]:
    """Return the checkpoints that the rule keeps: the last, the best, every so many steps."""
    kept = set(whole[-keep.last :])
    found = {folder: _manifest(folder) or {"step": 0, "state": {}} for folder in whole}
    if keep.every:
        kept |= {folder for folder, content in found.items() if content["step"] % keep.every == 0}
    bits = {
        folder: content["state"]["bits_per_byte"]
        for folder, content in found.items()
        if content["state"].get("bits_per_byte") is not None
    }
    if keep.best and bits:
        kept.add(min(whole, key=lambda folder: bits.get(folder, float("inf"))))
    return kept


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a checkpoint, or None where it is not as it was written."""
    try:
        digest, content, _ = (folder / MANIFEST).read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        return None
    if hashlib.sha256(content.encode()).hexdigest() != digest:
        return None
    return dict(json.loads(content))


def _broken(folder: Path, files: dict[str, str]) -> str | None:
    """Return the first damaged file among those that this rank checks."""
    for name in sorted(files)[rank() :: world_size()]:
        path = folder / name
        if not path.is_file() or evidence.sha256_file(path) != files[name]:
            return name
    return None


def _require_space(mine: Owned, folder: Path) -> None:
    """Refuse to begin a checkpoint that cannot fit: fp32 weights and two moments of all ranks."""
    needed = 12 * sum(tensor.numel() for tensor in mine.tensors) * world_size()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise AuroraError(
            f"A checkpoint needs {needed / 1e9:.1f} GB in {folder}, and {free / 1e9:.1f} GB are "
            "free. Make room and run the same command again; finished stages stay."
        )


def _bare(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a layout without the step it began after."""
    return {key: value for key, value in entry.items() if key != "after"}
