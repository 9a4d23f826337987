"""What the package says that it is made of."""

import json
from importlib import metadata
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from scripts import build_sbom


def test_the_bill_is_valid_and_names_what_a_user_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bill.json"
    monkeypatch.setattr("sys.argv", ["build_sbom", str(path)])
    build_sbom.main()
    text = path.read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None

    content = json.loads(text)
    ours = content["metadata"]["component"]
    assert ours["purl"] == f"pkg:pypi/aurora-release@{metadata.version('aurora-release')}"
    assert ours["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    versions = {part["name"]: part["version"] for part in content["components"]}
    for name in ("torch", "deepspeed", "fastapi", "model-signing", "pydantic-core"):
        assert versions[name] == metadata.version(name)
    assert not {"pytest", "mypy", "ruff"} & versions.keys()
    below = {row["ref"]: row.get("dependsOn", []) for row in content["dependencies"]}
    assert f"pkg:pypi/pydantic@{versions['pydantic']}" in below[ours["purl"]]
    assert below[f"pkg:pypi/pydantic@{versions['pydantic']}"]
