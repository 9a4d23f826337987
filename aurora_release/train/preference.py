"""Preference tuning: direct preference optimisation (Rafailov et al. 2023) through TRL."""

import json
import logging
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    set_seed,
)
from trl import DPOConfig, DPOTrainer

from aurora_release import atomic
from aurora_release.data import preferences, twins
from aurora_release.errors import AuroraError, Interrupted
from aurora_release.recipe import Preference
from aurora_release.run import Job
from aurora_release.shipped import resolve
from aurora_release.split import held_out
from aurora_release.train import adapters
from aurora_release.train.engine import precision, repeating, world_size
from aurora_release.train.export import write
from aurora_release.train.stop import stop_requests
from aurora_release.train.watch.journal import METRICS

log = logging.getLogger(__name__)

_CHECKPOINTS = "checkpoints"
_STATE = "trainer_state.json"
_METRICS = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "gradient_norm",
    "rewards/accuracies": "reward_accuracy",
    "rewards/margins": "reward_margin",
}

Pairs = Sequence[preferences.Preference]


def prefer(job: Job, tune: Preference, source: Path) -> dict[str, Any]:
    """Tune the model in `source` on reviewed pairs; write model and metrics.

    A stopped run goes on from the trainer's own checkpoint.

    Raises:
        AuroraError: there is more than one rank, or no pair is left to tune on.
        Interrupted: SIGINT or SIGTERM came; a checkpoint was written first.
    """
    if world_size() > 1:
        raise AuroraError(
            f"{tune.name} tunes in one process and there are {world_size()}. Launch the training "
            "stages alone (--until), then run the same command without a launcher."
        )
    found = _read(job, tune)
    tokenizer = AutoTokenizer.from_pretrained(source)
    fitting = [pair for pair in found.pairs if _length(tokenizer, pair) <= tune.max_length]
    kept = [pair for pair in fitting if _held_out(pair, tune)]
    trained = [pair for pair in fitting if not _held_out(pair, tune)]
    if not trained:
        raise AuroraError(
            f"{tune.name} has no pair to tune on: of {len(found.pairs)} that are reviewed, "
            f"{len(fitting)} have at most {tune.max_length} tokens (tune.max_length), and all of "
            f"these are held out (tune.heldout: {tune.heldout:g})."
        )
    with repeating(job.recipe.train.deterministic), adapters.quiet():
        trainer = _trainer(job, tune, source, tokenizer, trained, kept)
        rows = _train(job, tune, trainer)
        measured = _heldout(trainer) if kept else {}
    adapted = adapters.evidence(trainer.model, tune.lora) if tune.lora else None
    certificate = _export(trainer, source, job.folder)
    shutil.rmtree(job.folder / _CHECKPOINTS)
    return {
        "pairs": {
            "read": found.read, "unreviewed": found.unreviewed, "rejected": found.rejected,
            "too_long": len(found.pairs) - len(fitting), "trained": len(trained),
            "heldout": len(kept),
        },
        "steps": len(rows),
        "first_loss": rows[0]["loss"],
        "last_loss": rows[-1]["loss"],
        "loss": [[row["step"], round(row["loss"], 4)] for row in rows],
        "heldout": measured,
        "export": certificate,
        "precision": precision(job.recipe.train),
        "threads": torch.get_num_threads(),
        **({"lora": adapted} if adapted else {}),
    }  # fmt: skip


def _read(job: Job, tune: Preference) -> preferences.Reviewed:
    """Return the pairs of the recipe's file, or those that twins of its ledgers make."""
    if tune.path:
        return preferences.read(resolve(tune.path, job.beside), tune.min_reviews)
    return twins.read([resolve(path, job.beside) for path in tune.twins], tune.min_reviews)


def _held_out(pair: preferences.Preference, tune: Preference) -> bool:
    return held_out(pair.group or pair.prompt, tune.heldout)


def messages(pair: preferences.Preference) -> dict[str, Any]:
    """Return a pair as the conversation that the chat template formats."""
    return {
        "prompt": [{"role": "user", "content": pair.prompt}],
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
    }


def _dataset(pairs: Pairs) -> Dataset:
    return Dataset.from_list([messages(pair) for pair in pairs])


def _length(tokenizer: Any, pair: preferences.Preference) -> int:
    """Return the tokens of the longer of both conversations."""
    said = messages(pair)
    return max(
        len(tokenizer.apply_chat_template(said["prompt"] + said[answer], return_dict=False))
        for answer in ("chosen", "rejected")
    )


def _trainer(
    job: Job, tune: Preference, source: Path, tokenizer: Any, pairs: Pairs, heldout: Pairs
) -> DPOTrainer:
    """Return TRL's trainer; the model before is scored here, so that training holds one model."""
    seed = job.recipe.seed % 2**32
    set_seed(seed)
    model = adapters.load(source, tune.lora, torch.float32)
    trainer = DPOTrainer(
        model=adapters.add(model, tune.lora) if tune.lora else model,
        args=_arguments(job, tune, len(pairs), seed),
        train_dataset=_dataset(pairs),
        eval_dataset=_dataset(heldout) if heldout else None,
        processing_class=tokenizer,
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


def _arguments(job: Job, tune: Preference, pairs: int, seed: int) -> DPOConfig:
    train = job.recipe.train
    steps = math.ceil(tune.epochs * math.ceil(pairs / tune.global_batch))
    return DPOConfig(
        output_dir=str(job.folder / _CHECKPOINTS),
        beta=tune.beta,
        max_length=tune.max_length,
        precompute_ref_log_probs=True,
        learning_rate=tune.learning_rate,
        warmup_steps=math.ceil(steps / 10),
        max_steps=steps,
        per_device_train_batch_size=tune.micro_batch,
        per_device_eval_batch_size=tune.micro_batch,
        gradient_accumulation_steps=tune.global_batch // tune.micro_batch,
        max_grad_norm=train.clip,
        activation_checkpointing=train.activation_checkpointing,
        bf16=precision(train) != "fp32",
        use_cpu=not torch.cuda.is_available(),
        seed=seed,
        data_seed=seed,
        save_steps=train.checkpoint_every,
        save_total_limit=train.keep.last,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
    )


def _train(job: Job, tune: Preference, trainer: DPOTrainer) -> list[dict[str, Any]]:
    """Train to the end, or on from the newest checkpoint; return the metrics of every step."""
    with stop_requests() as stop:
        trainer.add_callback(_Journal(job.folder / METRICS, tune.name, stop))
        newest = _newest(job.folder / _CHECKPOINTS)
        if newest:
            log.info("%-14s goes on from %s", tune.name, newest.name)
        trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    state = trainer.state
    if state.global_step < state.max_steps:
        raise Interrupted(
            f"{tune.name} stopped after step {state.global_step} of {state.max_steps} and is "
            "saved; the same command goes on from there."
        )
    return _rows(state)


def _newest(folder: Path) -> Path | None:
    """Return the newest whole checkpoint: the trainer writes its state last."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / _STATE).is_file()]
    return max(whole, key=lambda path: int(path.name.partition("-")[2]), default=None)


def _rows(state: Any) -> list[dict[str, Any]]:
    """Return the metrics of every step so far; those before a resume come with the checkpoint."""
    return [
        {"step": entry["step"], **{ours: entry.get(name) for name, ours in _METRICS.items()}}
        for entry in state.log_history
        if "loss" in entry
    ]


class _Journal(TrainerCallback):  # type: ignore[misc]
    """Writes the metrics of each step, tells them, and stops where that was asked for."""

    def __init__(self, path: Path, stage: str, stop: Sequence[int]) -> None:
        self.path = path
        self.stage = stage
        self.stop = stop

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        lines = "".join(json.dumps(row) + "\n" for row in _rows(state))
        atomic.write_text(self.path, lines)

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if "loss" not in state.log_history[-1]:
            return
        row = _rows(state)[-1]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        log.info(
            "%-14s step %d/%d  loss %.3f  accuracy %.2f  margin %.3f",
            self.stage, row["step"], state.max_steps, row["loss"], row["reward_accuracy"],
            row["reward_margin"],
        )  # fmt: skip

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.stop:
            control.should_save = control.should_training_stop = True


def _heldout(trainer: DPOTrainer) -> dict[str, Any]:
    """Return loss, accuracy and margin of the rewards on pairs that were not trained on.

    Before tuning they are ln 2, none and 0 by definition: rewards are against the model before.
    """
    found = trainer.evaluate()
    return {
        ours: found[f"eval_{name}"]
        for name, ours in _METRICS.items()
        if name.startswith("rewards") or name == "loss"
    }


def _export(trainer: DPOTrainer, source: Path, folder: Path) -> dict[str, Any]:
    # without the autocast that the trainer wraps around it: what is certified is fp32
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    if hasattr(model, "peft_config"):
        adapters.save(model, source, folder)
        model = adapters.merge(source, folder)
    return write(model, source, folder)
