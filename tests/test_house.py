"""Rules of the house: rooms, layers, and files that a wheel must bring."""

import ast
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import aurora_release

PACKAGE = Path(aurora_release.__file__).parent
ROOT = PACKAGE.parent

# how code names a shipped file
SHIPPED = r"\"(?:shipped:)?((?:train|serve|quantize|model_card)/[\w./-]+)\""

# what a room may import: data flows one way, recipe -> stage -> evidence -> next stage
LAYERS = {
    "safety": set(),
    "data": {"safety"},
    "train": {"data", "evaluate"},
    "evaluate": {"safety", "data"},
    "quantize": {"data", "evaluate", "safety"},
    "card": {"evaluate", "safety"},
    "publish": {"card", "data", "evaluate", "safety"},
    "serve": {"safety", "data", "evaluate"},
}


@pytest.mark.parametrize("room", LAYERS)
def test_no_room_imports_a_later_one(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                "aurora_release."
            ):
                other = str(node.module).split(".")[1]
                assert other not in LAYERS or other in {room, *LAYERS[room]}, (
                    f"{path}: {node.module}"
                )


def test_imports_make_no_circle() -> None:
    """Not even those inside functions, or for a type checker alone."""
    modules = {_name(path): path for path in PACKAGE.rglob("*.py")}
    graph = {name: {*_imports(path, modules)} - {name} for name, path in modules.items()}
    assert {"aurora_release.errors", "aurora_release.run"} <= graph["aurora_release.chain"]
    assert len([*TopologicalSorter(graph).static_order()]) == len(modules)  # CycleError names it


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def _imports(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aurora_release"):
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in modules else str(node.module)


def test_nothing_is_written_twice() -> None:
    """Functions of a few lines that differ in nothing but names and constants."""
    written: dict[str, str] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                body = node.body[ast.get_docstring(node) is not None :]
                text = "\n".join(ast.dump(line) for line in body)
                shape = re.sub(r"(id|arg|value)=('[^']*'|\"[^\"]*\"|[\d.]+)", r"\1=_", text)
                if shape.count("(") >= 30:
                    mine = f"{path.name}: {node.name}"
                    assert shape not in written, f"{mine} and {written[shape]}"
                    written[shape] = mine


@pytest.mark.parametrize("folder", ["train", "quantize", "serve", "model_card"])
def test_folders_a_user_edits_hold_no_code(folder: str) -> None:
    assert (ROOT / folder / "README.md").is_file()
    assert not list((ROOT / folder).rglob("*.py"))


def test_files_and_functions_stay_small() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 50, f"{path}: {node.name}"


def test_wheel_brings_every_shipped_file(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path]
    subprocess.run([*build, ROOT], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("train", "serve/policies", "model_card"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.name != "README.md":
                assert f"aurora_release/_shipped/{path.relative_to(ROOT).as_posix()}" in names
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT).as_posix() in names
    assert f"aurora_release-{aurora_release.__version__}.dist-info/licenses/LICENSE" in names
    # what code names as a literal is there too
    for path in PACKAGE.rglob("*.py"):
        for literal in re.findall(SHIPPED, path.read_text(encoding="utf-8")):
            assert any(name.startswith(f"aurora_release/_shipped/{literal}") for name in names), (
                f"{path}: {literal}"
            )
    assert {name.split("/")[0] for name in names} <= {
        "aurora_release", f"aurora_release-{aurora_release.__version__}.dist-info",
    }  # fmt: skip
