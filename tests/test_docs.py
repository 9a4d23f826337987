"""What the documents say is what the code does."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from aurora_release import recipe

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("*/README.md")])


def test_generated_references_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.build_docs", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_recipes_in_commands_are_valid(page: Path) -> None:
    for line in re.findall(r"^    aurora run demo (.*)$", page.read_text("utf-8"), re.MULTILINE):
        words = shlex.split(line, comments=True)
        found, _ = recipe.load("demo", tuple(word for word in words if "=" in word))
        assert found.name == "demo"


def test_makefile_has_the_targets_that_are_promised() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    for target in ("setup", "demo", "test", "check", "fix", "bench", "docs"):
        assert re.search(rf"^{target}:", text, re.MULTILINE)
