"""Looks up how a model was trained: stages, what they cost, what they read, preference tuning."""

from collections.abc import Iterable
from typing import Any

from aurora_release.card.chain import Chain, at

Fact = dict[str, Any]


def stages(chain: Chain) -> list[Fact]:
    """Return a row for each stage: how it was trained, on what, and what that drew."""
    measured = (
        "tokens", "steps", "first_loss", "last_loss", "tokens_per_second", "precision", "ranks",
        "threads", "order", "energy",
    )  # fmt: skip
    return [
        {
            "name": stage.name,
            "learning_rate": stage.learning_rate,
            "schedule": stage.schedule,
            "warmup": stage.warmup,
            **{key: at(chain, stage.name, "measured", key) for key in measured},
            "hours": _hours(chain, stage.name),
            "estimate": _estimate(chain, stage.name),
            "processor": at(chain, stage.name, "environment", "processor"),
            "accelerator": _accelerator(chain, stage.name),
            "packages": {
                package: at(chain, stage.name, "environment", "packages", package)
                for package in ("torch", "transformers", "deepspeed")
            },
        }
        for stage in chain.recipe.train.stages
    ]


def settings(chain: Chain) -> Fact:
    """Return the hyper-parameters that all stages have in common."""
    train = chain.recipe.train
    found: Fact = {
        "optimizer": "AdamW",
        "betas": ", ".join(f"{beta:g}" for beta in train.betas),
        "weight decay": train.weight_decay,
        "gradients clipped at norm": train.clip,
        "seed": str(chain.recipe.seed),
    }
    if train.lora:
        found["adapters (LoRA)"] = f"rank {train.lora.rank}, alpha {train.lora.alpha:g}"
    if train.average > 1:
        found["weights averaged over checkpoints"] = train.average
    return found


def _hours(chain: Chain, stage: str) -> float | None:
    """Return the hours of a stage's optimizer steps times the devices that took them."""
    seconds, ranks = (at(chain, stage, "measured", key) for key in ("seconds", "ranks"))
    return None if seconds is None or ranks is None else seconds * ranks / 3600


def _estimate(chain: Chain, stage: str) -> Fact | None:
    """Return what the GPUs would draw at their full board power; None where that is not known."""
    hours, watts = _hours(chain, stage), at(chain, stage, "measured", "board_watts")
    if hours is None or watts is None:
        return None
    return {"kilowatt_hours": hours * watts / 1000, "watts": watts}


def _accelerator(chain: Chain, stage: str) -> str | None:
    """Return the accelerator's name; "none" where evidence says that there was none."""
    found = chain.stages.get(stage)
    if found is None or "accelerator" not in found.predicate.environment:
        return None
    return found.predicate.environment["accelerator"] or "none"


def forgetting(chain: Chain) -> list[Fact]:
    """Return, stage by stage, the lines of held-out text measured while it trained, with floors.

    Each is {"stage", "floors", "history"}, as `train.watch.pictures` draws them.
    """
    found = []
    for stage in chain.recipe.train.stages:
        sets = at(chain, stage.name, "measured", "validation", "curves") or {}
        steps = sorted({row[0] for rows in sets.values() for row in rows})
        by_step = {name: {row[0]: row for row in rows} for name, rows in sets.items()}
        history = [
            {"step": step, "sets": {name: {"change": rows[step][2], "interval": rows[step][3:]}
                                    for name, rows in by_step.items() if step in rows}}
            for step in steps
        ]  # fmt: skip
        if history:
            floors = at(chain, stage.name, "measured", "forgetting", "floors") or {}
            breaches = at(chain, stage.name, "measured", "forgetting", "breaches") or []
            found.append({"stage": stage.name, "floors": floors, "history": history,
                          "breaches": breaches})  # fmt: skip
    return found


def curves(chain: Chain) -> list[Fact]:
    """Return the loss of each training stage: {"stage", "points": [[step, loss], ...]}."""
    found = [
        {"stage": stage.name, "points": at(chain, stage.name, "measured", "loss")}
        for stage in chain.recipe.train.stages
    ]
    return [curve for curve in found if curve["points"]]


def sources(chain: Chain) -> list[Fact]:
    """Return a row for each source: its licence, what it holds, how often it was read."""
    return [
        {
            "name": source.name,
            "language": source.language,
            "license": source.license,
            "kind": source.kind,
            **{
                key: at(chain, "data", "measured", "sources", source.name, key)
                for key in ("documents", "tokens", "heldout")
            },
            **_reading(chain, source.name),
        }
        for source in chain.recipe.data.sources
    ]


def _reading(chain: Chain, source: str) -> Fact:
    """Return the samples of a source in each stage, and how often it was read by the end."""
    samples, epochs = [], None
    for stage in chain.recipe.train.stages:
        seen = at(chain, stage.name, "measured", "samples")
        samples.append(None if seen is None else seen.get(source, 0))
        # a stage states how often a source was read up to its end, stages before it included
        latest = at(chain, stage.name, "measured", "epochs", source)
        epochs = epochs if latest is None else latest
    unread = all(count == 0 for count in samples)
    return {"samples": samples, "epochs": 0.0 if unread else epochs}


def blocks(chain: Chain) -> list[Fact]:
    """Return a row for each language and licence: tokens there are, and tokens that were read, in
    each stage and in all.

    Of a source whose documents have several licences only the tokens there are can be told apart.
    """
    rows: dict[tuple[str, str], Fact] = {}
    for source in sources(chain):
        found = at(chain, "data", "measured", "sources", source["name"], "licenses")
        licences = found or {source["license"]: source["tokens"]}
        for licence, tokens in licences.items():
            row = rows.setdefault((source["language"], licence), {"tokens": [], "read": []})
            row["tokens"].append(tokens)
            read = _read(chain, source)
            row["read"].append(read if len(licences) == 1 else [None] * len(read))
    found = []
    for (language, licence), row in rows.items():
        stages = [total(stage) for stage in zip(*row["read"], strict=True)]
        found.append({"language": language, "license": licence, "tokens": total(row["tokens"]),
                      "stages": stages, "read": total(stages)})  # fmt: skip
    everything = total(row["read"] for row in found)
    return [{**row, "share": row["read"] / everything if everything else None} for row in found]


def _read(chain: Chain, source: Fact) -> list[int | None]:
    """Return the tokens of a source that each stage read."""
    length = chain.recipe.data.sequence_length
    return [None if samples is None else samples * length for samples in source["samples"]]


def tune(chain: Chain) -> Fact | None:
    """Return what preference tuning was done with and measured; None where the recipe has none."""
    how = chain.recipe.tune
    if how is None:
        return None
    pairs = ("read", "unreviewed", "rejected", "trained", "heldout")
    return {
        **{key: getattr(how, key) for key in ("name", "beta", "learning_rate", "min_reviews")},
        **{key: at(chain, how.name, "measured", key)
           for key in ("steps", "first_loss", "last_loss", "precision")},
        "pairs": {key: at(chain, how.name, "measured", "pairs", key) for key in pairs},
        "heldout": {key: at(chain, how.name, "measured", "heldout", key)
                    for key in ("reward_accuracy", "reward_margin")},
    }  # fmt: skip


def total(values: Iterable[Any]) -> Any:
    """Return the sum, or None where one of the values is."""
    found = list(values)
    return None if None in found else sum(found)
