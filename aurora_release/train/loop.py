"""The training loop of one stage."""

import json
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from aurora_release import atomic
from aurora_release.errors import AuroraError, Interrupted
from aurora_release.recipe import Recipe, TrainStage
from aurora_release.train.batches import Batches
from aurora_release.train.checkpoint import Checkpoints
from aurora_release.train.engine import agreed, rank
from aurora_release.train.loss import packed_loss
from aurora_release.train.schedule import learning_rate
from aurora_release.train.validate import Validation
from aurora_release.train.watch import breaches, broken

log = logging.getLogger(__name__)

METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class Loop:
    """One stage: an engine, its batches, and where to write."""

    recipe: Recipe
    stage: TrainStage
    engine: Any
    batches: Batches
    validation: Validation | None
    folder: Path
    checkpoints: Checkpoints

    def run(self) -> list[dict[str, Any]]:
        """Train to the end of the stage and return the metrics of every step.

        Raises:
            Interrupted: SIGINT or SIGTERM came; a checkpoint was written first.
            AuroraError: the loss is no number, or the forgetting contract is broken.
        """
        steps = self.recipe.steps(self.stage)
        first, _ = self.checkpoints.resume(self.engine)
        metrics = _keep_metrics(self.folder / METRICS, first)
        if self.validation:
            self.validation.resume(first)
        if first:
            rate = learning_rate(self.stage, first, steps)
            log.info("%-14s goes on at step %d, learning rate %.3g", self.stage.name, first, rate)
        if error := self._validate(first, steps):
            raise error
        with _stop_requests() as stop, (self.folder / METRICS).open("a", encoding="utf-8") as file:
            for step in range(first, steps):
                metrics.append(self._step(step, steps))
                _append(file, metrics[-1])
                done = step + 1
                error = self._validate(done, steps)
                if done == steps and not error:
                    break
                stopping = agreed(bool(stop))
                if stopping or error or done % self.recipe.train.checkpoint_every == 0:
                    self.checkpoints.save(self.engine, done, self._state(done))
                if stopping or error:
                    self.checkpoints.settle()
                if error:
                    raise error
                if stopping:
                    raise Interrupted(
                        f"{self.stage.name} stopped after step {done} of {steps} and is saved; "
                        "the same command goes on from there."
                    )
        return metrics

    def _state(self, step: int) -> dict[str, Any]:
        """Return what a checkpoint keeps beside weights: the mean that `keep.best` compares."""
        found = self.validation.history if self.validation else []
        at = [line["bits_per_byte"] for line in found if line["step"] == step]
        return {"bits_per_byte": at[0]} if at else {}

    def _validate(self, step: int, steps: int) -> AuroraError | None:
        """Measure where it is due; return the error of a broken contract that stops the run."""
        watch = self.recipe.train.watch
        if not self.validation or (step % (watch.validate_every or steps) and step != steps):
            return None
        found = breaches(self.validation.at(step), watch.floors)
        return broken(self.stage.name, found, watch)

    def _step(self, step: int, steps: int) -> dict[str, Any]:
        """Take one optimizer step and return its metrics."""
        began = time.perf_counter()
        rate = learning_rate(self.stage, step, steps)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        rows, labels = self.batches.step(step)
        loss = self._accumulate(rows, labels)
        if not loss == loss or loss == float("inf"):
            raise AuroraError(
                f"The loss of {self.stage.name} is {loss} at step {step + 1}: lower "
                f"learning_rate ({self.stage.learning_rate}) of this stage. The last checkpoint "
                "is from before."
            )
        seconds = time.perf_counter() - began
        tokens = self.recipe.train.global_batch * self.recipe.data.sequence_length
        norm = self.engine.get_global_grad_norm()
        found = {
            "step": step + 1,
            "tokens": (step + 1) * tokens,
            "loss": loss,
            "learning_rate": rate,
            # DeepSpeed without ZeRO clips, but does not say what the norm was
            "gradient_norm": None if norm is None else float(norm),
            "labels": labels,
            "tokens_per_second": tokens / seconds,
        }
        self._tell(found, steps)
        return found

    def _accumulate(self, rows: list[Any], labels: int) -> float:
        """Run the micro-batches of a step and return the loss of the global batch in nats."""
        import torch

        # DeepSpeed averages over micro-batches and ranks; what we want is the mean over labels
        share = len(rows) * self.batches.ranks / max(1, labels)
        total = torch.zeros((), dtype=torch.float64)
        for row in rows:
            device = self.engine.device
            loss = packed_loss(
                self.engine, row.tokens.to(device), row.positions.to(device),
                row.labels.to(device), self.recipe.train.loss_chunk,
            )  # fmt: skip
            self.engine.backward(loss * share)
            self.engine.step()
            total += loss.detach().double().cpu()
        if self.batches.ranks > 1:
            torch.distributed.all_reduce(total)
        return float(total) / max(1, labels)

    def _tell(self, found: dict[str, Any], steps: int) -> None:
        left = (steps - found["step"]) * found["tokens"] / found["step"]
        log.info(
            "%-14s step %d/%d  loss %.3f  lr %.2e  %.0f tokens/s  %.0f s left",
            self.stage.name, found["step"], steps, found["loss"], found["learning_rate"],
            found["tokens_per_second"], left / found["tokens_per_second"],
        )  # fmt: skip


def _keep_metrics(path: Path, steps: int) -> list[dict[str, Any]]:
    """Return the metrics of the first `steps` steps and forget those that are trained again."""
    lines = path.read_text(encoding="utf-8").splitlines()[:steps] if path.exists() else []
    if rank() == 0:
        atomic.write_text(path, "".join(f"{line}\n" for line in lines))
    return [json.loads(line) for line in lines]


def _append(file: TextIO, found: dict[str, Any]) -> None:
    """Write the metrics of a step; ranks have the same ones, so one of them writes."""
    if rank() == 0:
        file.write(json.dumps(found) + "\n")
        file.flush()


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one is not collected."""
    caught: list[int] = []

    def note(number: int, frame: object) -> None:
        caught.append(number)
        signal.signal(number, before[signal.Signals(number)])
        log.info("stopping after this step; once more to stop at once")

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
