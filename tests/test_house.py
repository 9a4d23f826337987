"""Rules of the house: rooms, layers, and files that a wheel must bring."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import aurora_release

PACKAGE = Path(aurora_release.__file__).parent
ROOT = PACKAGE.parent

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
    assert {name.split("/")[0] for name in names} <= {
        "aurora_release", f"aurora_release-{aurora_release.__version__}.dist-info",
    }  # fmt: skip
