import json
from pathlib import Path
from typing import Any

import pytest

from aurora_release.card import bom, chain
from aurora_release.card.stage import seal
from aurora_release.card.verify import verify
from aurora_release.recipe import Recipe


def read(released: Path) -> dict[str, Any]:
    return json.loads((released / "bom.json").read_bytes())


def components(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["bom-ref"]: each for each in content["components"]}


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {each["name"].removeprefix("aurora:"): each["value"] for each in component["properties"]}


def schema_errors(text: str) -> str | None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return None if found is None else str(found)


def test_official_schema_accepts_it(released: Path) -> None:
    text = (released / "bom.json").read_text(encoding="utf-8")
    assert schema_errors(text) is None
    assert schema_errors(text.replace('"id": "Apache-2.0"', '"id": "Apache"')) is not None


def test_it_names_models_data_with_shares_and_software(released: Path) -> None:
    content = read(released)
    found = components(content)
    assert found["model:base"]["purl"] == "pkg:pypi/small@1"
    assert found["data:help-fi"]["licenses"] == [{"license": {"id": "MPL-2.0"}}]
    shares = {name: properties(each)["share"] for name, each in found.items() if "data:" in name}
    assert shares["data:python"] == "0"
    assert sum(map(float, shares.values())) == pytest.approx(1)
    assert {"model:nf4", "model:gguf"} <= found.keys()
    assert any(ref.startswith("pkg:pypi/torch@") for ref in found)
    card = content["metadata"]["component"]["modelCard"]
    metrics = card["quantitativeAnalysis"]["performanceMetrics"]
    measured = chain.read(released).measured()["evaluate-cat"]["bits_per_byte"]["help-fi"]
    bits = next(each for each in metrics if each["slice"] == "help-fi")
    assert float(bits["value"]) == measured["bits_per_byte"]
    assert any("confidenceInterval" in each for each in metrics)
    kinds = {(each["type"], each["slice"]) for each in metrics}
    assert {("attack success", "fi"), ("over refusal", "all")} <= kinds
    variant = found["model:nf4"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert ("bits per byte", "help-fi") in {(each["type"], each["slice"]) for each in variant}
    trained = properties(content["metadata"]["component"])
    assert trained["cap:joules of processors"] == "7200000"
    assert trained["cap:joules of accelerators"] == "not measured"


def test_without_evidence_it_says_unknown_and_stays_valid(recipe: Recipe) -> None:
    model = recipe.model.model_copy(update={"license": "some terms"})
    bare = chain.Chain(recipe.model_copy(update={"model": model}), {})
    text = bom.render(bare, {})
    assert schema_errors(text) is None
    content = json.loads(text)
    assert properties(components(content)["data:python"])["share"] == "unknown"
    assert content["metadata"]["component"]["licenses"] == [{"license": {"name": "some terms"}}]


def test_its_serial_number_follows_its_content(released: Path, recipe: Recipe) -> None:
    one = json.loads(bom.render(chain.Chain(recipe, {}), {}))["serialNumber"]
    assert one == json.loads(bom.render(chain.Chain(recipe, {}), {}))["serialNumber"]
    assert one != read(released)["serialNumber"]


def test_edited_materials_are_found(released: Path) -> None:
    from aurora_release import evidence

    path = released / "bom.json"
    path.write_text(path.read_text(encoding="utf-8").replace("MPL-2.0", "MIT"), encoding="utf-8")
    predicate = evidence.read(released / "evidence.json")["predicate"]
    evidence.write(released, evidence.statement(evidence.digests(released), predicate))
    seal(released)
    (failed,) = [each for each in verify(released).checks if each.passed is False]
    assert failed.name == "materials"
