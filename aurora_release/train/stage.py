"""A training stage: from the model of the stage before to a new one."""

import shutil
from pathlib import Path
from typing import Any

from aurora_release.data.mixture import Order
from aurora_release.recipe import TrainStage
from aurora_release.run import Job
from aurora_release.shipped import resolve


def train(job: Job, stage: TrainStage, source: Path) -> dict[str, Any]:
    """Train `stage` from the model in `source`; write model, metrics and loss curve."""
    import torch
    from transformers import AutoModelForCausalLM, set_seed

    from aurora_release.data.store import Store
    from aurora_release.train import engine as engines
    from aurora_release.train.batches import Batches
    from aurora_release.train.export import export
    from aurora_release.train.loop import Loop

    recipe = job.recipe
    set_seed(recipe.seed % 2**32)
    store = Store(job.before["data"])
    order = Order(recipe, stage, {name: part.windows for name, part in store.parts.items()})
    dtype = torch.bfloat16 if engines.precision(recipe.train) == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True)
    model.config.use_cache = False
    model.train()
    engine = engines.start(model, recipe.train, resolve(recipe.train.zero, job.beside))
    batches = Batches(
        store, order, recipe.train.global_batch, recipe.train.micro_batch,
        engines.rank(), engines.world_size(),
    )  # fmt: skip
    metrics = Loop(recipe, stage, engine, batches, job.folder).run()
    export(engine, source, job.folder)
    engine.destroy()
    shutil.rmtree(job.folder / "checkpoints")
    return _measured(job, stage, order, metrics)


def _measured(
    job: Job, stage: TrainStage, order: Order, metrics: list[dict[str, Any]]
) -> dict[str, Any]:
    import statistics

    import torch

    from aurora_release.train.engine import precision, world_size

    every = max(1, len(metrics) // 500)
    return {
        "steps": len(metrics),
        "tokens": metrics[-1]["tokens"],
        "labels": sum(entry["labels"] for entry in metrics),
        "samples": dict(zip(sorted(stage.mixture), order.counts(), strict=True)),
        "epochs": order.epochs(),
        "order": order.digest,
        "first_loss": metrics[0]["loss"],
        "last_loss": statistics.fmean(entry["loss"] for entry in metrics[-5:]),
        "tokens_per_second": statistics.median(entry["tokens_per_second"] for entry in metrics),
        "precision": precision(job.recipe.train),
        "ranks": world_size(),
        "threads": torch.get_num_threads(),
        "loss": [[entry["step"], round(entry["loss"], 4)] for entry in metrics[::every]],
    }
