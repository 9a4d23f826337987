"""The files of a checkpoint: each rank's tensors, and a map from parameters to them."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from aurora_release.errors import AuroraError
from aurora_release.train.checkpoints.fragments import Fragment, Owned, owned, prepare, refresh
from aurora_release.train.engine import rank, world_size

WEIGHT = "weight"
_MAP = "step and fragments"
"""The name of the fp32 weights in a file, beside those of the optimizer's moments."""


def write(mine: Owned, folder: Path, replicated: bool) -> None:
    """Write what this rank owns and its random state; what ranks replicate, rank 0 writes."""
    tensors = _chance()
    fragments = [] if replicated and rank() else mine.fragments
    for number in sorted({fragment.owner for fragment in fragments}):
        moments = mine.moments(number)
        if not moments:
            raise AuroraError(
                "DeepSpeed keeps the optimizer's moments where a checkpoint cannot reach them. "
                "Remove nvme devices and partial offload (ratio) from the file of train.zero."
            )
        for kind, tensor in {WEIGHT: mine.tensors[number], **moments}.items():
            tensors[f"{kind}/{number}"] = tensor.detach().view(-1)
    rows = [[f.name, f.begin, f.count, f.owner, f.offset] for f in fragments]
    path = folder / _file(rank())
    # one key of metadata: of several, safetensors writes now one first, now another
    save_file(tensors, path, metadata={_MAP: json.dumps([mine.step(), rows])})
    path.chmod(0o644)  # safetensors writes files that only their owner can read


def read(engine: Any, folder: Path) -> None:
    """Fill the weights and moments of `engine` from a checkpoint of any layout."""
    prepare(engine)
    mine = owned(engine)
    with ExitStack() as stack:
        files = Files(folder, stack)
        kinds, step = files.about()
        for tensor in mine.tensors:
            _make_room(mine.optimizer, tensor, kinds, step)
        for fragment in mine.fragments:
            places = {WEIGHT: mine.tensors[fragment.owner], **mine.moments(fragment.owner)}
            for kind, tensor in places.items():
                end = fragment.offset + fragment.count
                files.fill(tensor.data.view(-1)[fragment.offset : end], kind, fragment)
    refresh(engine)


def restore_chance(folder: Path) -> None:
    """Put this rank's random state back."""
    with safe_open(folder / _file(rank()), framework="pt") as file:
        torch.set_rng_state(file.get_tensor("chance/cpu"))
        if torch.cuda.is_available():
            torch.cuda.set_rng_state(file.get_tensor("chance/cuda"))


class Files:
    """The files of all ranks, opened as they are needed, the likeliest first."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._paths = nearest(sorted(folder.glob("rank-*.safetensors")))
        self._stack = stack
        self._open: list[tuple[Any, dict[str, list[Fragment]]]] = []

    @property
    def opened(self) -> int:
        """How many files were needed so far."""
        return len(self._open)

    def about(self) -> tuple[list[str], float]:
        """Return the kinds of moments, and how many steps the optimizer had taken."""
        for file, places in self._files():
            if places:
                kinds = {key.partition("/")[0] for key in file.keys()}  # noqa: SIM118
                return sorted(kinds - {WEIGHT, "chance"}), float(
                    json.loads(file.metadata()[_MAP])[0]
                )
        raise AssertionError("a checkpoint holds weights")

    def fill(self, target: Tensor, kind: str, wanted: Fragment) -> None:
        """Write the wanted stretch of a parameter into `target`, out of the files that hold it."""
        missing, end = wanted.count, wanted.begin + wanted.count
        for file, places in self._files():
            for place in places.get(wanted.name, ()):
                low, high = max(wanted.begin, place.begin), min(end, place.begin + place.count)
                if low < high:
                    at = place.offset + low - place.begin
                    part = file.get_slice(f"{kind}/{place.owner}")[at : at + high - low]
                    target[low - wanted.begin : high - wanted.begin].copy_(part)
                    missing -= high - low
            if not missing:
                return
        raise AuroraError(
            f"The checkpoint does not hold {wanted.name} of this model: it is of another one. "
            "Remove the stage's .partial folder to begin it again."
        )

    def _files(self) -> Iterator[tuple[Any, dict[str, list[Fragment]]]]:
        yield from self._open
        for path in self._paths[len(self._open) :]:
            file = self._stack.enter_context(safe_open(path, framework="pt"))
            places: dict[str, list[Fragment]] = {}
            for row in json.loads(file.metadata()[_MAP])[1]:
                places.setdefault(row[0], []).append(Fragment(*row))
            self._open.append((file, places))
            yield file, places


def nearest(paths: list[Path]) -> list[Path]:
    """Return the files of all ranks, ordered by where this rank's share of everything begins.

    Ranks own equal shares in their order, so another number of ranks finds its own in a few files.
    Rank 0's comes second: what ranks replicate is there alone.
    """
    here = rank() * len(paths) // world_size()
    return [paths[at] for at in sorted(range(len(paths)), key=lambda at: _turn(at, here))]


def _turn(at: int, here: int) -> tuple[bool, bool, int]:
    return at != here, at != 0, abs(at - here)


def _make_room(
    optimizer: torch.optim.Optimizer, tensor: Tensor, kinds: list[str], step: float
) -> None:
    """Give a tensor the optimizer's state that its first step would have made."""
    state = optimizer.state[tensor]
    for kind in kinds:
        if kind not in state:
            state[kind] = torch.zeros_like(tensor, memory_format=torch.preserve_format)
    fused = any(group.get("fused") for group in optimizer.param_groups)
    state["step"] = torch.tensor(step, device=tensor.device if fused else "cpu")


def _chance() -> dict[str, Tensor]:
    found = {"chance/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        found["chance/cuda"] = torch.cuda.get_rng_state()
    return found


def _file(number: int) -> str:
    return f"rank-{number:05d}.safetensors"
