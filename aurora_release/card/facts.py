"""Looks up in the evidence everything that a model card says; what is not there is None."""

from collections.abc import Mapping
from typing import Any

from aurora_release.card import licences, safety, snippet, training
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
    answers = tasks(chain, measured)
    return {
        "title": chain.recipe.title,
        "recipe": chain.recipe.name,
        "metadata": metadata(chain, rows, outcomes["safety"], answers),
        "languages": [LANGUAGES.get(language, language) for language in languages],
        "base": base(chain),
        "provider": chain.recipe.provider,
        "license": chain.recipe.model.license,
        "license_text": licences.named(chain),
        "restricts": licences.restricts(chain),
        "restrictions": licences.restrictions(chain),
        "final": chain.final,
        "snippet": snippet.facts(chain),
        "tokens": training.total(stage["tokens"] for stage in training.stages(chain)),
        "bytes": down(measured, "bytes"),
        "stages": training.stages(chain),
        "settings": training.settings(chain),
        "sequence_length": chain.recipe.data.sequence_length,
        "global_batch": chain.recipe.train.global_batch,
        "sources": training.sources(chain),
        "blocks": training.blocks(chain),
        "models": models,
        "bits": rows,
        "changed": changed(rows),
        "against_final": _against_final(chain, measured),
        "tasks": answers,
        "task_models": list(down(measured, "tasks") or {}),
        "tune": training.tune(chain),
        **outcomes,
        "variants": [_variant(chain, name) for name in chain.variants],
        "certificates": _certificates(chain),
        "gates": down(measured, "gates") or [],
        "curves": training.curves(chain),
        "forgetting": training.forgetting(chain),
        "formats": formats(chain, measured),
        "chain": [
            {"stage": name, "sha256": stage.sha256, "previous": sorted(stage.predicate.previous)}
            for name, stage in chain.stages.items()
        ],
    }  # fmt: skip


def base(chain: Chain) -> Fact:
    """Return what is known of the base model, and the name that people know it by."""
    keys = ("source", "origin", "architecture", "parameters")
    found = {key: at(chain, "base", "measured", key) for key in keys}
    return {**found, "name": chain.recipe.model.converted_from or found["source"]}


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


def _models(chain: Chain) -> list[str]:
    """Return the stages whose models were evaluated: base, trained, variants."""
    return [name.removeprefix("evaluate-") for name in chain.stages if name.startswith("evaluate-")]


def tasks(chain: Chain, measured: Mapping[str, Any]) -> list[Fact]:
    """Return a row for each measure of answers that are right or wrong, compared with the base."""
    found: Fact = down(measured, "tasks") or {}
    rows: dict[tuple[str, str], dict[str, Fact]] = {}
    for model, compared in found.items():
        for each in compared:
            rows.setdefault((each["what"], each["measure"]), {})[model] = each
    return [
        {
            "what": what,
            "measure": measure,
            "count": next(iter(cells.values()))["items"],
            "base": next(iter(cells.values()))["before"],
            "cells": {model: cells.get(model) for model in found},
        }
        for (what, measure), cells in rows.items()
    ]


def formats(chain: Chain, measured: Mapping[str, Any]) -> list[Fact]:
    """Return the size of each evaluated variant beside its changes from the trained model."""
    sizes = {name: at(chain, name, "measured", "bytes") for name in chain.variants}
    rows = _against_final(chain, measured)
    return [
        {"name": name, "bytes": sizes[name],
         "cells": [{"source": row["source"], **row["cells"][place]} for row in rows]}
        for place, name in enumerate(rows[0]["models"] if rows else [])
        if sizes[name] is not None
    ]  # fmt: skip


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
        "settings": {
            key: value for key, value in how.items() if key not in _NOT_SETTINGS and value != []
        },
        "bytes": quantized.get("bytes"),
        "peak_memory_bytes": quantized.get("peak_memory_bytes"),
    }


_NOT_SETTINGS = ("name", "method", "seed")


_CERTIFIED = {
    "tokenizer_equal": "strings that both tokenizers cut into the same tokens",
    "chat_template": "chat template of both, its digest",
    "texts": "texts compared",
    "positions": "positions compared, in tokens",
    "logit_difference_max": "largest difference of a logit",
    "logit_difference_mean": "mean difference of the logits",
    "same_next_token": "share of positions with the same likeliest next token",
    "greedy_tokens": "tokens that the trained model goes on with, the likeliest each time",
    "greedy_agreement": "share of these before the variant first writes another",
}
"""What a certificate measures, in words, in the order of the card."""


def _certificates(chain: Chain) -> list[Fact]:
    """Return a row for each single value that certificates hold, a cell for each variant."""
    found = [at(chain, name, "measured", "certificate") or {} for name in chain.variants]
    held = {
        key
        for certificate in found
        for key, value in certificate.items()
        if not isinstance(value, (dict, list))
    }
    others = {key: key.replace("_", " ") for key in sorted(held - _CERTIFIED.keys())}
    return [
        {"what": words, "cells": [certificate.get(key) for certificate in found]}
        for key, words in (_CERTIFIED | others).items()
        if key in held
    ]
