"""A training stage: from the model of the stage before to a new one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release.data.mixture import Order
from aurora_release.recipe import TrainStage, Watch
from aurora_release.run import Job
from aurora_release.shipped import resolve

if TYPE_CHECKING:
    from aurora_release.train.loop import Loop
    from aurora_release.train.watch.validate import Validation


def train(job: Job, stage: TrainStage, source: Path) -> dict[str, Any]:
    """Train `stage` from the model in `source`; write model, metrics and loss curve."""
    from aurora_release.train import adapters
    from aurora_release.train.checkpoints.average import average, snapshots
    from aurora_release.train.engine import repeating, world_size
    from aurora_release.train.export import export
    from aurora_release.train.launch.launcher import clear

    how = job.recipe.train
    if world_size() == 1:
        clear(job.folder)
    with repeating(how.deterministic):
        loop = begin(job, stage, source)
        means = snapshots(how, loop.steps)
        loop.checkpoints.needed = frozenset(means)
        metrics = loop.run()
        average(loop.engine, loop.checkpoints, means)
        certificate = (adapters.export if how.lora else export)(loop.engine, source, job.folder)
    adapted = {"lora": adapters.evidence(loop.engine.module, how.lora)} if how.lora else {}
    loop.engine.destroy()
    loop.checkpoints.remove()
    return {
        **_measured(loop, metrics),
        "averaged": [*means, loop.steps],
        "export": certificate,
        "skipped": loop.skipped,
        **adapted,
        **_watched(loop.recipe.train.watch, loop.validation),
    }


def begin(job: Job, stage: TrainStage, source: Path) -> "Loop":
    """Return the loop of `stage`, ready to run: model, engine, batches, checkpoints."""
    from transformers import set_seed

    from aurora_release.data.store import Store
    from aurora_release.train import engine as engines
    from aurora_release.train import model as models
    from aurora_release.train.batches import Batches
    from aurora_release.train.checkpoints.checkpoint import Checkpoints
    from aurora_release.train.checkpoints.layout import layout
    from aurora_release.train.loop import Loop
    from aurora_release.train.watch.journal import require_tensorboard
    from aurora_release.train.watch.validate import Validation

    recipe, how = job.recipe, job.recipe.train
    if how.tensorboard:
        require_tensorboard()
    set_seed(recipe.seed % 2**32)
    store = Store(job.before["data"])
    order = Order(recipe, stage, store.windows)
    model = models.load(source, how)
    engine = engines.start(model, how, resolve(how.zero, job.beside))
    engines.seed(recipe.seed, stage.name)
    batches = Batches(
        store, order, how.global_batch, how.micro_batch, engines.rank(), engines.world_size(),
        joined=models.attends_per_document(model),
    )  # fmt: skip
    checkpoints = Checkpoints(
        job.folder / "checkpoints", how.keep, layout(engine, how), how.deterministic
    )
    validation = Validation(job, source, engine) if how.watch.validate_every else None
    return Loop(recipe, stage, engine, batches, validation, job.folder, checkpoints)


def _watched(watch: Watch, validation: "Validation | None") -> dict[str, Any]:
    """Return the validation curves and the forgetting contract, kept or broken, as evidence."""
    if validation is None:
        return {}
    curves = {
        name: [
            [line["step"], row["bits_per_byte"], row["change"], *row["interval"]]
            for line in validation.history
            if (row := line["sets"].get(name))
        ]
        for name in validation.texts
    }
    return {
        "validation": {"every": watch.validate_every, "curves": curves},
        "forgetting": {
            "floors": watch.floors,
            "on_breach": watch.on_breach,
            "breaches": [breach for line in validation.history for breach in line["breaches"]],
        },
    }


def _measured(loop: "Loop", metrics: list[dict[str, Any]]) -> dict[str, Any]:
    import statistics

    import torch

    from aurora_release.environment import environment
    from aurora_release.train.engine import precision, world_size
    from aurora_release.train.estimate.machines import board_watts
    from aurora_release.train.watch import energy
    from aurora_release.train.watch.pace import PARTS

    every = max(1, len(metrics) // 500)
    trained = [entry for entry in metrics if not entry["skipped"]]
    return {
        "steps": len(metrics),
        "tokens": metrics[-1]["tokens"],
        "labels": sum(entry["labels"] for entry in trained),
        **loop.batches.order.facts(),
        "first_loss": trained[0]["loss"],
        "last_loss": statistics.fmean(entry["loss"] for entry in trained[-5:]),
        **loop.pace.facts(trained),
        "seconds": sum(entry.get(f"{part}_seconds", 0.0) for entry in metrics for part in PARTS),
        "energy": energy.facts(metrics),
        "board_watts": board_watts(environment()["accelerator"] or ""),
        "precision": precision(loop.recipe.train),
        "ranks": world_size(),
        "threads": torch.get_num_threads(),
        "layouts": loop.checkpoints.history,
        "loss": [[entry["step"], round(entry["loss"], 4)] for entry in trained[::every]],
    }
