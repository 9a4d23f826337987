"""The training loop of one stage."""

import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import torch

from aurora_release import atomic
from aurora_release.errors import AuroraError, Interrupted
from aurora_release.evidence import canonical
from aurora_release.recipe import Recipe, TrainStage
from aurora_release.train.batches import Batches
from aurora_release.train.checkpoints.checkpoint import Checkpoints
from aurora_release.train.engine import agreed, meet, precision, rank
from aurora_release.train.launch.launcher import FOLDER, STOP
from aurora_release.train.loss import packed_loss
from aurora_release.train.schedule import learning_rate, phase
from aurora_release.train.stop import stop_requests
from aurora_release.train.watch import report
from aurora_release.train.watch.forgetting import breaches, broken
from aurora_release.train.watch.journal import Journal
from aurora_release.train.watch.pace import Pace
from aurora_release.train.watch.spikes import SKIPPED, Losses, Valve, record
from aurora_release.train.watch.validate import Validation

log = logging.getLogger(__name__)

_BETWEEN_REPORTS = 60.0
"""Seconds at least, while a stage is under way."""


@dataclass
class Loop:
    """One stage: an engine, its batches, what is watched, and where to write."""

    recipe: Recipe
    stage: TrainStage
    engine: Any
    batches: Batches
    validation: Validation | None
    folder: Path
    checkpoints: Checkpoints
    skipped: list[dict[str, Any]] = field(default_factory=list)
    """The record of every bad batch so far."""

    def __post_init__(self) -> None:
        self.watch = self.recipe.train.watch
        self.steps = self.recipe.steps(self.stage)
        self.valve = Valve(self.engine)
        self.losses = Losses(self.watch)
        self.pace = Pace(self.engine.module, precision(self.recipe.train) != "fp32")
        self._reported = time.monotonic()

    def run(self) -> list[dict[str, Any]]:
        """Train to the end of the stage and return the metrics of every step.

        Raises:
            Interrupted: SIGINT or SIGTERM came; a checkpoint was written first.
            AuroraError: too many batches were bad, or the forgetting contract is broken; a
                checkpoint was written first.
        """
        first = self._resume()
        with stop_requests() as stop, self._journal(first) as self.journal:
            self._train(first, stop)
        self._report(f"Done: {self.steps:,} steps.")
        return self.journal.rows

    def _train(self, first: int, stop: list[int]) -> None:
        """Take the steps that are left."""
        if error := self._error(first):
            self._stop(error)
        for step in range(first, self.steps):
            self._keep(self._step(step))
            error = self._error(step + 1)
            if step + 1 < self.steps or error:
                asked = bool(stop) or (rank() == 0 and (self.folder / FOLDER / STOP).exists())
                self._save(step + 1, agreed(asked), error)

    def _report(self, state: str) -> None:
        self._reported = time.monotonic()
        if rank() == 0:
            report.write(self.folder, self._course(), state)

    def _course(self) -> report.Course:
        return report.Course(
            self.recipe.title, self.stage, self.steps, self.journal.rows,
            self.validation.history if self.validation else [],
            self.watch.floors, self.skipped, self.checkpoints.history,
        )  # fmt: skip

    def _journal(self, first: int) -> Journal:
        board = self.recipe.train.tensorboard
        return Journal(self.folder, self.stage.name, first, self.steps, board)

    def _resume(self) -> int:
        """Go back to the newest checkpoint and return its step; forget what came after it."""
        first, state = self.checkpoints.resume(self.engine)
        self.losses = Losses(self.watch, state.get("losses", ()))
        self.skipped = list(state.get("skipped", ()))
        self._write_skipped()
        if self.validation:
            self.validation.resume(first)
        if 0 < first < self.steps:
            log.info(
                "%-14s goes on at step %d, learning rate %.3g (%s)",
                self.stage.name, first, learning_rate(self.stage, first, self.steps),
                phase(self.stage, first, self.steps)[0],
            )  # fmt: skip
        return first

    def _save(self, step: int, stopping: bool, error: AuroraError | None) -> None:
        """Write a checkpoint where one is due, and stop where that is due."""
        if stopping or error or step % self.recipe.train.checkpoint_every == 0:
            self.checkpoints.save(self.engine, step, self._state(step))
        if error:
            self._stop(error)
        if stopping:
            self._stop(Interrupted(
                f"{self.stage.name} stopped after step {step} of {self.steps} and is saved; "
                "the same command goes on from there."
            ))  # fmt: skip

    def _stop(self, error: AuroraError) -> NoReturn:
        """End the stage on all ranks once what it leaves is on disk."""
        self.checkpoints.settle()
        self._report(str(error))
        meet()  # who leaves first takes the others down, and rank 0 may still be writing
        raise error

    def _state(self, step: int) -> dict[str, Any]:
        """Return what a checkpoint keeps of the watch, and the mean that `keep.best` compares."""
        state: dict[str, Any] = {"losses": list(self.losses.last), "skipped": list(self.skipped)}
        last = self.validation.history[-1:] if self.validation else []
        if last and last[0]["step"] == step:
            state["bits_per_byte"] = last[0]["bits_per_byte"]
        return state

    def _error(self, step: int) -> AuroraError | None:
        """Return the error that training must end with after `step` steps, if any."""
        if len(self.skipped) > min(self.watch.max_skips, self.steps - 1):
            steps = ", ".join(str(entry["step"]) for entry in self.skipped)
            return AuroraError(
                f"{self.stage.name} skipped the batches of {len(self.skipped)} steps ({steps}), "
                f"more than train.watch.max_skips ({self.watch.max_skips}). A checkpoint is "
                f"written; {self.folder / SKIPPED} names every document. Mend the data, lower "
                f"learning_rate ({self.stage.learning_rate:g}), or go on with a larger max_skips."
            )
        every = self.watch.validate_every or self.steps
        if not self.validation or (step % every and step != self.steps):
            return None
        measured = self.validation.at(step)
        self.journal.validation(measured)
        found = breaches(measured, self.watch.floors)
        self.validation.note(found)
        if time.monotonic() - self._reported > _BETWEEN_REPORTS:
            self._report(f"Under way: {step:,} of {self.steps:,} steps.")
        return broken(self.stage.name, found, self.watch)

    def _step(self, step: int) -> dict[str, Any]:
        """Take one optimizer step, or skip a bad batch, and return the metrics."""
        self.pace.begin()
        rate = learning_rate(self.stage, step, self.steps)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        rows, labels = self.batches.step(step)
        self.pace.mark("data")
        loss, fault = self._accumulate(rows, labels)
        tokens = self.recipe.train.global_batch * self.recipe.data.sequence_length
        norm = _norm(self.engine)
        self.pace.mark("optimizer")
        return {
            "step": step + 1,
            "tokens": (step + 1) * tokens,
            "loss": loss if math.isfinite(loss) else None,
            "learning_rate": rate,
            "gradient_norm": norm,
            "labels": labels,
            "samples": self.batches.digest(step),
            "skipped": fault,
            **self.pace.row(rows, tokens),
        }

    def _accumulate(self, rows: list[Any], labels: int) -> tuple[float, str | None]:
        """Run the micro-batches of a step and, unless they are bad, update the weights.

        Returns the loss of the global batch in nats, and what is wrong with it.
        """
        # DeepSpeed averages over micro-batches and ranks; what we want is the mean over labels
        share = len(rows) * self.batches.ranks / max(1, labels)
        device = self.engine.device
        total = torch.zeros((), dtype=torch.float64, device=device)
        for number, row in enumerate(rows):
            loss = packed_loss(
                self.engine, row.tokens.to(device), row.positions.to(device),
                row.labels.to(device), self.recipe.train.loss_chunk,
            )  # fmt: skip
            self.pace.mark("forward")
            self.engine.backward(loss * share)
            self.pace.mark("backward")
            total += loss.detach().double()
            if number + 1 < len(rows):
                self.engine.step()
                self.pace.mark("optimizer")
        if self.batches.ranks > 1:
            torch.distributed.all_reduce(total)
        mean = float(total) / max(1, labels)
        fault = self.losses.fault(mean)
        self.valve.closed = fault is not None
        return mean, self.valve.step() or fault

    def _keep(self, found: dict[str, Any]) -> None:
        """Keep the metrics of a step, and the record of its batch where that was skipped."""
        self.journal.step(found)
        if found["skipped"] is None:
            self.losses.last.append(found["loss"])
            return
        self.skipped.append(record(self.batches, found["step"], found))
        self._write_skipped()
        log.warning(
            "%-14s step %d/%d  rolled back and skipped: %s; %s names its documents",
            self.stage.name, found["step"], self.steps, found["skipped"], SKIPPED,
        )  # fmt: skip

    def _write_skipped(self) -> None:
        path = self.folder / SKIPPED
        if rank() == 0 and (self.skipped or path.exists()):
            atomic.write_bytes(path, b"".join(canonical(entry) + b"\n" for entry in self.skipped))


def _norm(engine: Any) -> float | None:
    """Return the norm of the last gradient; DeepSpeed without ZeRO does not say it in fp32."""
    norm = engine.get_global_grad_norm()
    return None if norm is None or not math.isfinite(float(norm)) else float(norm)
