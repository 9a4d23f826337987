"""What CI and a release would run is there, is pinned, and may do no more than it must."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.check_tag import problems

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WRITES = {("release", "build", "id-token"), ("release", "build", "attestations"),
          ("release", "publish", "id-token")}  # fmt: skip


def _jobs(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"])


def _steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in _jobs(path).values() for step in job["steps"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_run_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    lines = [step["run"] for step in _steps(path) if "run" in step]
    assert any(line.startswith("make ") for line in lines)
    for line in lines:
        program, first, *_ = line.split()
        if program == "make":
            assert first in targets, line
        for script in re.findall(r"scripts/\S+", line):
            assert (ROOT / script).is_file(), line


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_actions_are_pinned_and_see_no_credentials(path: Path) -> None:
    for step in _steps(path):
        if "uses" in step:
            assert re.search(r"@(?:v\d+|release/v\d+|[0-9a-f]{40})$", step["uses"]), step["uses"]
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", ""), "a name from outside would become a command"


def test_only_a_release_may_write_and_only_its_signature() -> None:
    found = set()
    for path in FILES:
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {
            "contents": "read"
        }
        for name, job in _jobs(path).items():
            may = job.get("permissions", {})
            found |= {(path.stem, name, key) for key, level in may.items() if level == "write"}
    assert found == WRITES


def test_a_tag_must_say_what_package_changelog_and_citation_say(tmp_path: Path) -> None:
    (tmp_path / "aurora_release").mkdir()
    (tmp_path / "aurora_release" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2026-01-31)\n")
    (tmp_path / "CITATION.cff").write_text("title: x\nversion: 1.2.3\nauthors: []\n")
    assert problems("v1.2.3", tmp_path) == []
    assert problems("1.2.3", tmp_path)[0].startswith("The tag is 1.2.3; the package says 1.2.3")

    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (unreleased)\n")
    (tmp_path / "CITATION.cff").write_text("title: x\nversion: 1.2.2\nauthors: []\n")
    assert problems("v1.2.3", tmp_path) == [
        "CHANGELOG.md has no heading `## 1.2.3 (YYYY-MM-DD)`.",
        "CITATION.cff does not say version: 1.2.3.",
    ]
