"""What a stage writes down of every step: metrics.jsonl, TensorBoard, a line for the reader."""

import importlib.util
import json
import os
from pathlib import Path
from typing import Any, TextIO

from aurora_release import atomic
from aurora_release.errors import missing_extra
from aurora_release.train.engine import rank
from aurora_release.train.watch.progress import Progress

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"


class Journal:
    """The rows of the steps so far, and where more are written; a context manager."""

    def __init__(self, folder: Path, stage: str, first: int, steps: int, tensorboard: bool) -> None:
        """Forget what was written of steps after `first`: they are trained again."""
        self.rows = _keep(folder / METRICS, first)
        self._progress = Progress(stage, first, steps)
        self._board = _board(folder / TENSORBOARD, first) if tensorboard and rank() == 0 else None
        self._file = _opened(folder / METRICS)

    def __enter__(self) -> "Journal":
        self._progress.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.__exit__(*error)
        self._file.close()
        if self._board:
            self._board.close()

    def step(self, found: dict[str, Any]) -> None:
        """Write down the metrics of a step."""
        self.rows.append(found)
        self._file.write(json.dumps(found) + "\n")
        self._file.flush()
        self._draw("train", found["step"], found)
        if not found["skipped"]:
            self._progress.step(found)

    def validation(self, measured: dict[str, Any]) -> None:
        """Write down the bits per byte of every set."""
        values = {name: row["bits_per_byte"] for name, row in measured["sets"].items()}
        self._draw("bits per byte", measured["step"], values)

    def _draw(self, group: str, step: int, values: dict[str, Any]) -> None:
        if self._board:
            for name, value in values.items():
                if isinstance(value, int | float) and name != "step":
                    self._board.add_scalar(f"{group}/{name}", value, step)


def require_tensorboard() -> None:
    """Raise an AuroraError that names the extra where TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise missing_extra("tensorboard", "tensorboard")


def _board(folder: Path, first: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder, purge_step=first + 1 if first else None)


def _keep(path: Path, steps: int) -> list[dict[str, Any]]:
    """Return the rows of the first `steps` steps; the file then holds no others."""
    lines = path.read_text(encoding="utf-8").splitlines()[:steps] if path.exists() else []
    if rank() == 0:
        atomic.write_text(path, "".join(f"{line}\n" for line in lines))
    return [json.loads(line) for line in lines]


def _opened(path: Path) -> TextIO:
    """Return the file that rank 0 appends to; what other ranks write goes nowhere."""
    return (path if rank() == 0 else Path(os.devnull)).open("a", encoding="utf-8")
