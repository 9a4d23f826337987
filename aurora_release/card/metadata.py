"""The metadata block of a card, as the Hugging Face Hub reads it."""

import re
from typing import Any

from aurora_release.card import licences
from aurora_release.card.chain import Chain, at
from aurora_release.evaluate.redteam.rates import ALL

Fact = dict[str, Any]


def metadata(chain: Chain, bits: list[Fact], safety: list[Fact], tasks: list[Fact]) -> Fact:
    """Return the metadata of a release; `bits`, `safety`, `tasks` are rows of the card's tables.

    Only what the Hub can look up is named: a base model and data sets that lie there. Results are
    a model-index (huggingface_hub's EvalResult), of the trained model alone.
    """
    languages = list(dict.fromkeys(source.language for source in chain.recipe.data.sources))
    found: Fact = hub_license(chain.recipe.model.license, licences.named(chain))
    if at(chain, "base", "measured", "origin") == "hub":
        found["base_model"] = chain.recipe.model.base.partition("@")[0]
    if chain.recipe.model.converted_from:
        found["base_model"] = chain.recipe.model.converted_from
    if "base_model" in found:
        found["base_model_relation"] = "finetune"
    if named := datasets(chain):
        found["datasets"] = named
    tags = ["aurora-release", "continual-pretraining"]
    found |= {
        "language": [name for name in languages if re.fullmatch(r"[a-z]{2,3}", name)],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": [*tags, *(["code"] if "code" in languages else [])],
    }
    if results := [
        *_bits(chain.final, bits), *_tasks(chain.final, tasks), *_safety(chain.final, safety)
    ]:  # fmt: skip
        found["model-index"] = [{"name": chain.recipe.title, "results": results}]
    return found


_WITHOUT_SPDX = ("openrail", "bigscience-openrail-m", "bigcode-openrail-m", "llama2", "llama3",
                 "llama3.1", "llama3.2", "llama3.3", "gemma", "unknown")  # fmt: skip
"""Licences that the Hub knows by a name of its own."""


def hub_license(name: str, file: str | None = None) -> Fact:
    """Return the licence as the Hub spells it: its own name, an SPDX id in small letters, other.

    `file` of the release holds its text.
    """
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    if name.lower() in _WITHOUT_SPDX:
        return {"license": name.lower()}
    try:
        if re.fullmatch(r"[\w.+-]+", canonicalize_license_expression(name)):
            return {"license": name.lower()}
    except InvalidLicenseExpression:
        pass
    plain = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    return {
        "license": "other",
        "license_name": "see-notice" if plain == "other" else plain,
        "license_link": file or "NOTICE",
    }


def datasets(chain: Chain) -> list[str]:
    """Return the data sets of the Hub that were trained on."""
    paths = [source.path for source in chain.recipe.data.sources]
    hub = [path.removeprefix("hub:").partition("@")[0] for path in paths if path.startswith("hub:")]
    return [name for name in dict.fromkeys(hub) if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name)]


def _bits(model: str, rows: list[Fact]) -> list[Fact]:
    """Return a result for each source whose held-out text was scored."""
    values = {
        row["source"]: cell["value"]
        for row in rows
        for cell in row["cells"]
        if cell["model"] == model and cell["value"] is not None
    }
    return [
        _result(source, [("bits_per_byte", "Bits per byte of held-out text", value)])
        for source, value in values.items()
    ]


def _tasks(model: str, rows: list[Fact]) -> list[Fact]:
    """Return a result for each task whose answers are right or wrong."""
    return [
        _result(row["what"], [(row["measure"].replace(" ", "_"), row["measure"], cell["after"])])
        for row in rows
        for cell in [row["cells"].get(model)]
        if cell and not row["what"].startswith("all ")
    ]


def _safety(model: str, rows: list[Fact]) -> list[Fact]:
    """Return the shares of harmful and of harmless requests, over all languages."""
    names = {"attack_success": "Attack success", "over_refusal": "Over-refusal"}
    for row in rows:
        cell = next((cell for cell in row["cells"] if cell.get("model") == model), None)
        if row["language"] == ALL and cell:
            shares = [(key, name, cell[key]["share"]) for key, name in names.items() if cell[key]]
            return [_result("safety pairs", shares)] if shares else []
    return []


def _result(source: str, metrics: list[tuple[str, str, float]]) -> Fact:
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": source, "type": source.replace(" ", "-"), "split": "heldout"},
        "metrics": [
            {"type": kind, "value": float(f"{value:.9g}"), "name": name}
            for kind, name, value in metrics
        ],
    }
