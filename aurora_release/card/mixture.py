"""Looks up what a release says of the mixture it was trained on: for its card and its metadata."""

import re
from collections.abc import Mapping
from typing import Any

from aurora_release.card import safety
from aurora_release.card.chain import Chain, at
from aurora_release.card.facts import LANGUAGES, base
from aurora_release.card.metadata import datasets, hub_license
from aurora_release.card.training import blocks, sources, total
from aurora_release.safety.taxonomy import AREAS

Fact = dict[str, Any]

_SIZES = (("n<1K", 1e3), ("1K<n<10K", 1e4), ("10K<n<100K", 1e5), ("100K<n<1M", 1e6),
          ("1M<n<10M", 1e7), ("10M<n<100M", 1e8), ("100M<n<1B", 1e9))  # fmt: skip
"""The Hub's classes of data sets by number of documents."""


def facts(chain: Chain, measured: Mapping[str, Any]) -> Fact:
    """Return the values of the templates on the mixture."""
    rows = [{**row, **_cleaned(chain, row["name"])} for row in sources(chain)]
    stages = [stage.name for stage in chain.recipe.train.stages]
    languages = list(dict.fromkeys(row["language"] for row in rows))
    return {
        "title": chain.recipe.title,
        "recipe": chain.recipe.name,
        "provider": chain.recipe.provider,
        "base": base(chain)["name"],
        "metadata": _metadata(chain, rows),
        "languages": [LANGUAGES.get(language, language) for language in languages],
        "sources": rows,
        "hub": datasets(chain),
        "stages": stages,
        "local": [row for row in rows if not row["path"].startswith("hub:")],
        "read": total(row["tokens"] for row in rows),
        "tokens": total(at(chain, stage, "measured", "tokens") for stage in stages),
        "orders": [at(chain, stage, "measured", "order") for stage in stages],
        "blocks": blocks(chain),
        "reasons": sorted({reason for row in rows for reason in row["removed"] or ()}),
        "masks": sorted({kind for row in rows for kind in row["masked"] or ()}),
        "rules": {
            key: value
            for key, value in chain.recipe.data.clean.model_dump(mode="json").items()
            if value not in (None, [], False)
        },
        "fertility": at(chain, "data", "measured", "fertility") or {},
        "pairs": safety.pairs(chain),
        "areas": AREAS,
    }


def _cleaned(chain: Chain, name: str) -> Fact:
    """Return what cleaning did with a source, and the digest of what it read."""
    source = next(each for each in chain.recipe.data.sources if each.name == name)
    keys = ("read", "kept", "removed", "masked")
    found = {key: at(chain, "clean", "measured", "sources", name, key) for key in keys}
    return {
        **found,
        "path": source.path,
        "origin": source.origin,
        "sha256": at(chain, "clean", "inputs", name),
        "text_key": source.text_key,
    }


def _metadata(chain: Chain, rows: list[Fact]) -> Fact:
    """Return the metadata block of the data set's card, as the Hub reads it."""
    languages = dict.fromkeys(row["language"] for row in rows)
    documents = total(row["documents"] for row in rows)
    licences = dict.fromkeys(hub_license(row["license"])["license"] for row in rows)
    found: Fact = {
        "pretty_name": f"Training mixture of {chain.recipe.title}",
        "license": list(licences),
        "language": [name for name in languages if re.fullmatch(r"[a-z]{2,3}", name)],
        "task_categories": ["text-generation"],
        "tags": ["aurora-release", "croissant"],
    }
    if documents is not None:
        found["size_categories"] = [next((name for name, end in _SIZES if documents < end), "n>1T")]
    return found
