"""Looks up in the evidence everything that a model card says; what is not there is None."""

from collections.abc import Iterable, Mapping
from typing import Any

from aurora_release.card import safety
from aurora_release.card.chain import Chain, at, down
from aurora_release.card.metadata import metadata

Fact = dict[str, Any]

LANGUAGES = {
    "code": "program code", "en": "English", "fi": "Finnish", "hi": "Hindi", "ja": "Japanese",
    "vi": "Vietnamese",
}  # fmt: skip


def facts(chain: Chain, measured: Mapping[str, Any]) -> Fact:
    """Return the values of the card's template; `measured` is what the release stage measured."""
    models = _models(chain)
    languages = list(dict.fromkeys(source.language for source in chain.recipe.data.sources))
    rows = bits(chain, measured)
    outcomes = safety.facts(chain, models)
    return {
        "title": chain.recipe.title,
        "metadata": metadata(chain, rows, outcomes["safety"]),
        "languages": [LANGUAGES.get(language, language) for language in languages],
        "base": {
            key: at(chain, "base", "measured", key)
            for key in ("source", "architecture", "parameters")
        },
        "license": chain.recipe.model.license,
        "final": chain.final,
        "tokens": _sum(stage["tokens"] for stage in _stages(chain)),
        "bytes": down(measured, "bytes"),
        "stages": _stages(chain),
        "sequence_length": chain.recipe.data.sequence_length,
        "global_batch": chain.recipe.train.global_batch,
        "sources": sources(chain),
        "models": models,
        "bits": rows,
        "changed": changed(rows),
        "against_final": _against_final(chain, measured),
        "tune": _tune(chain),
        **outcomes,
        "variants": [_variant(chain, name) for name in chain.variants],
        "certificates": _certificates(chain),
        "gates": down(measured, "gates") or [],
        "curves": curves(chain),
        "chain": [
            {"stage": name, "sha256": stage.sha256, "previous": sorted(stage.predicate.previous)}
            for name, stage in chain.stages.items()
        ],
    }  # fmt: skip


def bits(chain: Chain, measured: Mapping[str, Any]) -> list[Fact]:
    """Return a row for each source: bits per byte of each model and the change from the base."""
    models = _models(chain)
    rows = [
        (source, [_compared(chain, measured, "base", model, source) for model in models])
        for source in (source.name for source in chain.recipe.data.sources)
    ]
    return [
        {
            "source": source,
            "bytes": at(chain, "evaluate-base", "measured", "bits_per_byte", source, "bytes"),
            "cells": cells,
        }
        for source, cells in rows
        if any(cell["value"] is not None for cell in cells)
    ]


def changed(rows: list[Fact]) -> list[str]:
    """Return the models of which a change is known in some row of `bits`."""
    cells = [cell for row in rows for cell in row["cells"]]
    return list(dict.fromkeys(cell["model"] for cell in cells if cell["change"] is not None))


def curves(chain: Chain) -> list[Fact]:
    """Return the loss of each training stage: {"stage", "points": [[step, loss], ...]}."""
    found = [
        {"stage": stage.name, "points": at(chain, stage.name, "measured", "loss")}
        for stage in chain.recipe.train.stages
    ]
    return [curve for curve in found if curve["points"]]


def _sum(values: Iterable[Any]) -> Any:
    """Return the sum, or None where one of the values is."""
    found = list(values)
    return None if None in found else sum(found)


def _models(chain: Chain) -> list[str]:
    """Return the stages whose models were evaluated: base, trained, variants."""
    return [name.removeprefix("evaluate-") for name in chain.stages if name.startswith("evaluate-")]


def _stages(chain: Chain) -> list[Fact]:
    measured = (
        "tokens", "steps", "first_loss", "last_loss", "tokens_per_second", "precision", "ranks",
        "threads", "order",
    )  # fmt: skip
    return [
        {
            "name": stage.name,
            "learning_rate": stage.learning_rate,
            "warmup": stage.warmup,
            **{key: at(chain, stage.name, "measured", key) for key in measured},
            "processor": at(chain, stage.name, "environment", "processor"),
            "accelerator": _accelerator(chain, stage.name),
            "packages": {
                package: at(chain, stage.name, "environment", "packages", package)
                for package in ("torch", "transformers", "deepspeed")
            },
        }
        for stage in chain.recipe.train.stages
    ]


def _accelerator(chain: Chain, stage: str) -> str | None:
    """Return the accelerator's name; "none" where evidence says that there was none."""
    found = chain.stages.get(stage)
    if found is None or "accelerator" not in found.predicate.environment:
        return None
    return found.predicate.environment["accelerator"] or "none"


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


def _compared(
    chain: Chain, measured: Mapping[str, Any], before: str, model: str, source: str
) -> Fact:
    """Return bits per byte of a model, its change and the interval of the change."""
    old = at(chain, f"evaluate-{before}", "measured", "bits_per_byte", source, "bits_per_byte")
    new = at(chain, f"evaluate-{model}", "measured", "bits_per_byte", source, "bits_per_byte")
    known = model != before and old and new is not None
    interval = down(measured, "intervals", before, model, source)
    return {
        "model": model,
        "value": new,
        "change": new / old - 1 if known else None,
        "interval": interval,
    }


def _against_final(chain: Chain, measured: Mapping[str, Any]) -> list[Fact]:
    """Return a row for each source: how far each evaluated variant is from the trained model."""
    models = [name for name in _models(chain) if name in chain.variants]
    sources = [row["source"] for row in bits(chain, measured)] if models else []
    return [
        {
            "source": source,
            "models": models,
            "cells": [_compared(chain, measured, chain.final, name, source) for name in models],
        }
        for source in sources
    ]


def _variant(chain: Chain, name: str) -> Fact:
    quantized = at(chain, name, "measured") or {}
    how = at(chain, name, "recipe") or {}
    return {
        "name": name,
        "method": how.get("method"),
        "settings": {key: value for key, value in how.items() if key not in _NOT_SETTINGS},
        "bytes": quantized.get("bytes"),
        "peak_memory_bytes": quantized.get("peak_memory_bytes"),
    }


_NOT_SETTINGS = ("name", "method", "seed")


def _certificates(chain: Chain) -> list[Fact]:
    """Return a row for each single value that certificates hold, a cell for each variant."""
    found = [at(chain, name, "measured", "certificate") or {} for name in chain.variants]
    keys = dict.fromkeys(
        key
        for certificate in found
        for key, value in certificate.items()
        if not isinstance(value, (dict, list))
    )
    return [
        {"what": key.replace("_", " "), "cells": [certificate.get(key) for certificate in found]}
        for key in keys
    ]


def _tune(chain: Chain) -> Fact | None:
    """Return what preference tuning was done with and measured; None where the recipe has none."""
    tune = chain.recipe.tune
    if tune is None:
        return None
    pairs = ("read", "unreviewed", "rejected", "trained", "heldout")
    return {
        **{key: getattr(tune, key) for key in ("name", "beta", "learning_rate", "min_reviews")},
        **{key: at(chain, tune.name, "measured", key)
           for key in ("steps", "first_loss", "last_loss", "precision")},
        "pairs": {key: at(chain, tune.name, "measured", "pairs", key) for key in pairs},
        "heldout": {key: at(chain, tune.name, "measured", "heldout", key)
                    for key in ("reward_accuracy", "reward_margin")},
    }  # fmt: skip
