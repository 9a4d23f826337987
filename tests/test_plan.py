"""What decides a stage: the recipe and what it names, not the machine nor what people are told."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from aurora_release import evidence, recipe
from aurora_release.plan import plan
from aurora_release.shipped import resolve, shipped


def _decided(folder: Path, texts: Path, base: Path, **told: Any) -> dict[str, Any]:
    """Return what decides each stage of the demo with a base model and a text of one's own."""
    content = yaml.safe_load(shipped("train/recipes/demo.yaml").read_text(encoding="utf-8"))
    content["model"] = {"base": str(base), "license": "Apache-2.0"}
    content["data"]["sources"][1] |= {"path": str(texts / "fi.jsonl"), **told}
    content |= {"provider": {"name": "A lab"}} if told else {}
    folder.mkdir(exist_ok=True)
    (folder / "mine.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    found, beside = recipe.load(str(folder / "mine.yaml"))
    return {
        stage.name: {
            "decides": stage.decides,
            "inputs": {name: evidence.sha256_path(path) for name, path in stage.inputs.items()},
        }
        for stage in plan(found, beside)
    }


def _texts(folder: Path) -> Path:
    folder.mkdir()
    shutil.copyfile(resolve("shipped:train/corpus/fi.jsonl", folder), folder / "fi.jsonl")
    return folder


def test_texts_that_moved_and_what_people_are_told_train_nothing_again(
    tmp_path: Path, tiny_llama: Path
) -> None:
    here = _decided(tmp_path / "one", _texts(tmp_path / "here"), tiny_llama)
    moved = _texts(tmp_path / "one" / "there")
    there = _decided(tmp_path / "one", moved, tiny_llama, origin="Finnish authors, 2024")
    assert [name for name in here if here[name] != there[name]] == ["release"]
    assert "Finnish authors, 2024" in json.dumps(there["release"]["decides"])


def test_no_stage_tells_where_on_this_machine_things_lay(tmp_path: Path, tiny_llama: Path) -> None:
    found = _decided(tmp_path / "one", _texts(tmp_path / "here"), tiny_llama)
    assert str(tmp_path) not in json.dumps(found)
    assert str(tiny_llama.parent) not in json.dumps(found)


def test_other_weights_in_the_folder_of_the_base_are_another_base(
    tmp_path: Path, tiny_llama: Path
) -> None:
    base, texts = shutil.copytree(tiny_llama, tmp_path / "base"), _texts(tmp_path / "here")
    before = _decided(tmp_path / "one", texts, base)["base"]
    (base / "model.safetensors").write_bytes(b"other weights")
    assert _decided(tmp_path / "one", texts, base)["base"] != before
