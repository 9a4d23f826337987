"""Looks up in the evidence everything that a model card says; what is not there is None."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from aurora_release.card.chain import Chain
from aurora_release.safety.taxonomy import AREAS

Fact = dict[str, Any]

_LANGUAGES = {
    "code": "program code", "en": "English", "fi": "Finnish", "hi": "Hindi", "ja": "Japanese",
    "vi": "Vietnamese",
}  # fmt: skip


def facts(chain: Chain, measured: Mapping[str, Any]) -> Fact:
    """Return the values of the card's template; `measured` is what the release stage measured."""
    models = _models(chain)
    languages = list(dict.fromkeys(source.language for source in chain.recipe.data.sources))
    return {
        "title": chain.recipe.title,
        "metadata": _metadata(chain, languages),
        "languages": [_LANGUAGES.get(language, language) for language in languages],
        "base": {
            key: _at(chain, "base", "measured", key)
            for key in ("source", "architecture", "parameters")
        },
        "license": chain.recipe.model.license,
        "final": chain.final,
        "tokens": _sum(stage["tokens"] for stage in _stages(chain)),
        "bytes": _down(measured, "bytes"),
        "stages": _stages(chain),
        "sequence_length": chain.recipe.data.sequence_length,
        "global_batch": chain.recipe.train.global_batch,
        "sources": _sources(chain),
        "models": models,
        "bits": bits(chain, measured),
        "changed": changed(bits(chain, measured)),
        "against_final": _against_final(chain, measured),
        "areas": AREAS,
        "pairs": _pairs(chain),
        "safety": _counts(chain, models, "safety"),
        "filter": _counts(chain, [chain.final], "filter"),
        "variants": [_variant(chain, name) for name in chain.variants],
        "certificates": _certificates(chain),
        "gates": _down(measured, "gates") or [],
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
            "bytes": _at(chain, "evaluate-base", "measured", "bits_per_byte", source, "bytes"),
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
        {"stage": stage.name, "points": _at(chain, stage.name, "measured", "loss")}
        for stage in chain.recipe.train.stages
    ]
    return [curve for curve in found if curve["points"]]


def _at(chain: Chain, stage: str, part: str, *path: str) -> Any:
    """Return what lies at `path` in a part of a stage's evidence, or None."""
    found = chain.stages.get(stage)
    return None if found is None else _down(getattr(found.predicate, part), *path)


def _down(content: Any, *path: str) -> Any:
    for key in path:
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    return content


def _sum(values: Iterable[Any]) -> Any:
    """Return the sum, or None where one of the values is."""
    found = list(values)
    return None if None in found else sum(found)


def _models(chain: Chain) -> list[str]:
    """Return the stages whose models were evaluated: base, trained, variants."""
    return [name.removeprefix("evaluate-") for name in chain.stages if name.startswith("evaluate-")]


def _metadata(chain: Chain, languages: list[str]) -> Fact:
    """Return the metadata block of the Hub."""
    model = chain.recipe.model
    found: Fact = {"license": model.license.lower()}
    if model.license.lower() == "other":
        found["license_name"] = "see-notice"
    if _at(chain, "base", "measured", "origin") == "hub":
        found["base_model"] = model.base.partition("@")[0]
    tags = ["aurora-release", "continual-pretraining"]
    return {
        **found,
        "language": [name for name in languages if re.fullmatch(r"[a-z]{2,3}", name)],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": [*tags, *(["code"] if "code" in languages else [])],
    }


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
            **{key: _at(chain, stage.name, "measured", key) for key in measured},
            "processor": _at(chain, stage.name, "environment", "processor"),
            "accelerator": _accelerator(chain, stage.name),
            "packages": {
                package: _at(chain, stage.name, "environment", "packages", package)
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


def _sources(chain: Chain) -> list[Fact]:
    return [
        {
            "name": source.name,
            "language": source.language,
            "license": source.license,
            "kind": source.kind,
            **{
                key: _at(chain, "data", "measured", "sources", source.name, key)
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
        seen = _at(chain, stage.name, "measured", "samples")
        samples.append(None if seen is None else seen.get(source, 0))
        # a stage states how often a source was read up to its end, stages before it included
        latest = _at(chain, stage.name, "measured", "epochs", source)
        epochs = epochs if latest is None else latest
    unread = all(count == 0 for count in samples)
    return {"samples": samples, "epochs": 0.0 if unread else epochs}


def _compared(
    chain: Chain, measured: Mapping[str, Any], before: str, model: str, source: str
) -> Fact:
    """Return bits per byte of a model, its change and the interval of the change."""
    old = _at(chain, f"evaluate-{before}", "measured", "bits_per_byte", source, "bits_per_byte")
    new = _at(chain, f"evaluate-{model}", "measured", "bits_per_byte", source, "bits_per_byte")
    known = model != before and old and new is not None
    interval = _down(measured, "intervals", before, model, source)
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


def _pairs(chain: Chain) -> Fact | None:
    """Return what the ledgers say of the safety pairs; None where the recipe has no pairs."""
    names = [source.name for source in chain.recipe.data.sources if source.kind == "pairs"]
    if not names:
        return None
    ledgers = [_at(chain, "data", "measured", "sources", name, "ledger") for name in names]
    writers = [_down(ledger, "writer") for ledger in ledgers]
    areas = [_down(ledger, "category") for ledger in ledgers]
    return {
        **{
            key: _sum(_down(ledger, key) for ledger in ledgers)
            for key in ("pairs", "reviewed", "unreviewed")
        },
        "by_machine": None if None in writers else sum(row.get("model", 0) for row in writers),
        "areas": {
            area: None if None in areas else sum(row.get(area, 0) for row in areas)
            for area in AREAS
        },
    }


def _counts(chain: Chain, models: list[str], what: str) -> list[Fact]:
    """Return the counts of each model by language, and over all languages where there are more."""
    found = [_at(chain, f"evaluate-{model}", "measured", what) or {} for model in models]
    languages = list(dict.fromkeys(language for rows in found for language in rows))
    table = [
        {"language": language, "cells": [rows.get(language) for rows in found]}
        for language in languages
    ]
    if len(table) > 1:
        table.append({"language": "all", "cells": [_total(rows) for rows in found]})
    return table


def _total(rows: Mapping[str, Mapping[str, int]]) -> dict[str, int] | None:
    keys = dict.fromkeys(key for row in rows.values() for key in row)
    return {key: sum(row[key] for row in rows.values()) for key in keys} or None


def _variant(chain: Chain, name: str) -> Fact:
    quantized = _at(chain, name, "measured") or {}
    how = _at(chain, name, "recipe") or {}
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
    found = [_at(chain, name, "measured", "certificate") or {} for name in chain.variants]
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
