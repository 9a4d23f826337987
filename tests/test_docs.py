"""What the documents say is what the code does."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from aurora_release import recipe
from aurora_release.cli import app
from aurora_release.shipped import shipped_names
from tests.documents import PAGES, ROOT, Command, anchors, commands, links, mentions, name

CLI: Any = typer.main.get_command(app)
RECIPES = shipped_names("train/recipes", ".yaml")


def test_generated_references_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.build_docs", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() and target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), f"{link}: {sorted(anchors(target))}"


@pytest.mark.parametrize("command", commands(), ids=lambda each: f"{name(each.page)}: {each}")
def test_commands_are_commands(command: Command) -> None:
    verb, left = _verb(list(command.words))
    context = verb.make_context(verb.name, left)  # raises what the user would read
    given = context.params
    names = given.get("recipe") or (given.get("model") if _of_a_recipe(given) else None)
    if names:
        assert names in (*RECIPES, "my-recipe.yaml") or (ROOT / names).is_file(), names
        # a recipe of the reader's own has the keys of the demo
        reference = "demo" if names == "my-recipe.yaml" else names
        found = reference if reference in RECIPES else str(ROOT / reference)
        recipe.load(found, tuple(given["overrides"] or ()))


def _of_a_recipe(given: dict[str, Any]) -> bool:
    return any(given.get(option) for option in ("report", "recommend", "costs"))


def _verb(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words name, and the words behind its name."""
    found = CLI
    while hasattr(found, "commands"):
        assert words and words[0] in found.commands, words
        found = found.commands[words.pop(0)]
    return found, words


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_sentences_say_of_commands(page: Path) -> None:
    for said in mentions(page):
        words = said.split()
        if words[0].startswith("-"):
            assert words[0] in ("--help", "--version")
            continue
        for first in words[0].split("|"):
            assert first in CLI.commands, said
            group = CLI.commands[first]
            second = words[1:2] if hasattr(group, "commands") else []
            if not second:
                continue
            assert second[0] in group.commands, said
        verb = group.commands[second[0]] if second else group
        options = {option for parameter in getattr(verb, "params", ()) for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)--[a-z-]+|(?<=\[)--[a-z-]+", said)) <= options, said


def test_errors_are_those_of_the_code() -> None:
    said = "\n".join(
        node.value
        for path in (ROOT / "aurora_release").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    text = (ROOT / "docs/errors.md").read_text("utf-8")
    rows = re.findall(r"^\| `([^`]{8,})` \|", text, re.MULTILINE)
    assert len(rows) > 20
    assert [row for row in rows if row not in said] == []


def test_every_picture_is_in_the_gallery() -> None:
    shown = set(links(ROOT / "docs/gallery.md"))
    drawn = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.png")}
    assert drawn <= shown


def test_makefile_has_the_targets_that_are_promised() -> None:
    text = (ROOT / "Makefile").read_text("utf-8")
    for target in ("setup", "demo", "test", "check", "fix", "bench", "docs"):
        assert re.search(rf"^{target}:", text, re.MULTILINE)
