"""What training will cost, before it costs anything: tokens, operations, memory, days, energy."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aurora_release.data.mixture import Blend, repeats
from aurora_release.errors import AuroraError
from aurora_release.licences import unpublishable
from aurora_release.recipe import Recipe, TrainStage
from aurora_release.shipped import resolve
from aurora_release.train.estimate.flops import flops_per_token
from aurora_release.train.estimate.machines import Machines, cost
from aurora_release.train.estimate.memory import How, Precision, logits, memory, shape
from aurora_release.train.schedule import learning_rate

SIZES = (24, 40, 64, 80, 141)
"""Memory of common devices, in GiB."""

ROOM = 0.9
"""Share of a device that the estimate may fill: the rest is for context, NCCL and gaps."""

_POINTS = 400

_CHUNK = 1024
"""`loss_chunk` to compare with where the recipe has none."""


def estimate(
    recipe: Recipe,
    beside: Path,
    folder: Path,
    on: list[Machines],
    ranks: int = 1,
    mfu: float | None = None,
    pue: float = 1.2,
    grid: float | None = None,
) -> dict[str, Any]:
    """Return everything that can be known of a recipe's training without doing any of it.

    `folder` is the run folder: what is there already (the base model's shape, the size of the
    corpus) is used. `ranks` counts where there is no machine in `on`.
    """
    config, source = model_config(recipe, beside, folder)
    windows = _windows(folder)
    found: dict[str, Any] = {
        "tokens": sum(_tokens(recipe, stage) for stage in recipe.train.stages),
        "steps": sum(recipe.steps(stage) for stage in recipe.train.stages),
        "global_batch": recipe.train.global_batch,
        "sequence_length": recipe.data.sequence_length,
        "stages": [_stage(recipe, stage) for stage in recipe.train.stages],
        "sources": _sources(recipe, windows),
        "warnings": _warnings(recipe, beside, windows),
        "model": None,
        "model_from": source,
    }
    layouts = _layouts(on) or [(ranks, False)]
    found["warnings"] += _uneven(recipe, [number for number, _ in layouts])
    if config is None:
        return found
    try:
        costs = _costs(recipe, config, found["tokens"], on, (mfu, pue, grid))
        tables = [memory_table(recipe, beside, config, *layout) for layout in layouts]
        return found | costs | {"memory": tables}
    except AuroraError as error:
        return found | {"model_from": str(error)}


def model_config(recipe: Recipe, beside: Path, folder: Path) -> tuple[dict[str, Any] | None, str]:
    """Return the `config.json` of the model to train and where it is from, without any network.

    Looked for in the run folder, in `model.base` where that is a folder, in the Hub's cache, and
    last in `model.config` of the recipe.
    """
    trained = folder / "vocabulary" / "config.json"
    if recipe.data.extend_vocabulary and trained.is_file():
        return _json(trained), str(trained)
    path, source = _config_file(recipe, beside, folder)
    if path is None:
        return None, source
    found = _json(path)
    if recipe.data.extend_vocabulary and "vocab_size" in found:
        found["vocab_size"] += recipe.data.extend_vocabulary
        source += f" and {recipe.data.extend_vocabulary:,} tokens more"
    return found, source


def _config_file(recipe: Recipe, beside: Path, folder: Path) -> tuple[Path | None, str]:
    base = recipe.model.base
    for place in (folder / "base", Path(base).expanduser(), beside / base):
        if (place / "config.json").is_file():
            return place / "config.json", str(place / "config.json")
    cached = _cached(base)
    if cached:
        return cached, f"the Hub's cache of {base}"
    if recipe.model.config:
        path = resolve(recipe.model.config, beside)
        if not path.is_file():
            raise AuroraError(f"{path} (model.config) does not exist.")
        return path, recipe.model.config
    return None, (
        f"the shape of {base} is not known here: make the base stage first (--until base), or "
        "name a config.json in model.config of the recipe"
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except ValueError as error:
        raise AuroraError(f"{path} is not a model's config.json: {error}.") from None


def _cached(base: str) -> Path | None:
    name, _, revision = base.partition("@")
    if name.count("/") != 1 or ":" in name:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(name, "config.json", revision=revision or None)
    return Path(found) if isinstance(found, str) else None


def _tokens(recipe: Recipe, stage: TrainStage) -> int:
    return recipe.steps(stage) * recipe.train.global_batch * recipe.data.sequence_length


def _stage(recipe: Recipe, stage: TrainStage) -> dict[str, Any]:
    """Return a stage's tokens, steps, learning rate and mixture."""
    steps = recipe.steps(stage)
    total = sum(stage.mixture.values())
    every = max(1, steps // _POINTS)
    points = sorted({*range(0, steps, every), *_corners(stage, steps)})
    return {
        "name": stage.name,
        "tokens": _tokens(recipe, stage),
        "steps": steps,
        "schedule": stage.schedule,
        "learning_rate": [[step + 1, learning_rate(stage, step, steps)] for step in points],
        "corners": [
            [step + 1, learning_rate(stage, step, steps)] for step in _corners(stage, steps)
        ],
        "mixture": {name: weight / total for name, weight in stage.mixture.items()},
        "replay": list(stage.replay),
    }


def _corners(stage: TrainStage, steps: int) -> list[int]:
    """Return the steps worth telling: first, end of the warm-up, middle, last."""
    warm = max(1, round(stage.warmup * (stage.schedule_steps or steps)))
    return sorted({0, min(warm, steps) - 1, steps // 2, steps - 1})


def _sources(recipe: Recipe, windows: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Return tokens read, tokens there, and epochs, by source; sizes where the store is built."""
    length = recipe.data.sequence_length
    read: dict[str, int] = {}
    for stage in recipe.train.stages:
        names = sorted(stage.mixture)
        samples = recipe.steps(stage) * recipe.train.global_batch
        counts = Blend([stage.mixture[name] for name in names]).counts(samples)
        for name, count in zip(names, counts, strict=True):
            read[name] = read.get(name, 0) + count
    return {
        source.name: {
            "language": source.language,
            "tokens": read.get(source.name, 0) * length,
            "corpus_tokens": windows[source.name] * length if source.name in windows else None,
            "epochs": read.get(source.name, 0) / windows[source.name]
            if windows.get(source.name) else None,
        }
        for source in recipe.data.sources
    }  # fmt: skip


def _windows(folder: Path) -> dict[str, int]:
    store = folder / "data" / "store.json"
    if not store.is_file():
        return {}
    return {part["name"]: int(part["windows"]) for part in _json(store)["sources"]}


def _warnings(recipe: Recipe, beside: Path, windows: Mapping[str, int]) -> list[str]:
    """Return a sentence for what is not read, is read too often, or may not be published."""
    read = {name for stage in recipe.train.stages for name in stage.mixture}
    unread = [source.name for source in recipe.data.sources if source.name not in read]
    found = [f"No stage reads {', '.join(unread)}."] if unread else []
    nothing = [name for name, each in _sources(recipe, {}).items()
               if name in read and not each["tokens"]]  # fmt: skip
    if nothing:
        found.append(
            f"Too few samples for {', '.join(nothing)}: nothing of it is read. Give its stage "
            "more tokens, or it more weight."
        )
    found += unpublishable(recipe, beside)
    return found + (repeats(recipe, windows) if read <= windows.keys() else [])


def _uneven(recipe: Recipe, layouts: list[int]) -> list[str]:
    batch, micro = recipe.train.global_batch, recipe.train.micro_batch
    return [
        f"train.global_batch, {batch:,}, is not a multiple of train.micro_batch, {micro}, times "
        f"{ranks:,} ranks: training refuses it."
        for ranks in layouts
        if batch % (micro * ranks)
    ]


def _costs(
    recipe: Recipe,
    config: Mapping[str, Any],
    tokens: int,
    on: list[Machines],
    assumed: tuple[float | None, float, float | None],
) -> dict[str, Any]:
    """Return operations, time and energy of a model whose shape is known."""
    one = flops_per_token(config, recipe.data.sequence_length)
    mfu, pue, grid = assumed
    return {
        "model": {"type": config["model_type"], "parameters": one.parameters},
        "flops": {
            "six_n_per_token": one.six_n,
            "exact_per_token": one.total,
            "six_n": one.six_n * tokens,
            "exact": one.total * tokens,
        },
        "machines": [_on(one.total * tokens, each, mfu, pue, grid) for each in on],
    }


def _layouts(on: list[Machines]) -> list[tuple[int, bool]]:
    """Return (ranks, whether they are GPUs) of the machines, each pair once."""
    return list(dict.fromkeys((each.count, each.device.watts is not None) for each in on))


def _on(
    flops: float, each: Machines, mfu: float | None, pue: float, grid: float | None
) -> dict[str, Any]:
    found = cost(flops, each, mfu, pue, grid)
    return {
        "name": each.name,
        "count": each.count,
        "gibibytes": each.device.gibibytes,
        "peak_flops": each.device.peak,
        "mfu": mfu or each.device.mfu,
        "mfu_source": "given" if mfu else each.device.mfu_source,
        "days": found.seconds / 86_400,
        "watts": each.device.watts,
        "pue": pue,
        "kilowatt_hours": found.kilowatt_hours,
        "kilograms_co2": found.kilograms_co2,
    }


def memory_table(
    recipe: Recipe, beside: Path, config: Mapping[str, Any], ranks: int, accelerator: bool
) -> dict[str, Any]:
    """Return the memory of a rank for each ZeRO stage, with activations kept or recomputed."""
    train = recipe.train
    model = shape(config)
    precision = train.precision
    if precision == "auto":
        precision = "bf16" if accelerator else _here()
    how = How(
        precision, _zero(resolve(train.zero, beside)), ranks, train.micro_batch,
        recipe.data.sequence_length, train.activation_checkpointing, train.loss_chunk,
        train.global_batch > train.micro_batch * ranks, accelerator=accelerator,
    )  # fmt: skip
    rows = []
    for zero, offload in ((0, False), (1, False), (2, False), (3, False), (2, True), (3, True)):
        for checkpointing in (False, True):
            this = replace(how, zero=zero, offload=offload, checkpointing=checkpointing)
            rows.append(_row(model, this))
    return {
        "ranks": ranks,
        "precision": precision,
        "micro_batch": train.micro_batch,
        "loss_chunk": train.loss_chunk,
        "rows": rows,
        "chosen": _row(model, how),
        "logits": {
            "whole": logits(model, replace(how, loss_chunk=None)),
            "chunked": logits(model, replace(how, loss_chunk=train.loss_chunk or _CHUNK)),
            "chunk": train.loss_chunk or _CHUNK,
        },
    }


def _row(model: Any, how: How) -> dict[str, Any]:
    found = memory(model, how)
    return {
        "zero": how.zero,
        "offload": how.offload,
        "checkpointing": how.checkpointing,
        **asdict(found),
        "total": found.total,
        "fits": [size for size in SIZES if found.total <= ROOM * size * 2**30],
    }


def _zero(path: Path) -> int:
    return int(_json(path).get("zero_optimization", {}).get("stage", 0))


def _here() -> Precision:
    """Return what `precision: auto` is on this machine, or on most where torch is not installed."""
    from aurora_release.hardware import multiplies_bf16

    if find_spec("torch") is None:
        return "bf16"
    return "bf16" if multiplies_bf16() else "fp32"
