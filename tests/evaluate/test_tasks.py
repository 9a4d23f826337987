"""The harness's tasks; that the harness agrees with us is shown where it is installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from aurora_release.evaluate.measure import Settings
from aurora_release.evaluate.whole import evaluate
from aurora_release.shipped import package_folder
from scripts.build_eval_sets import pinned, tasks, texts

TASKS = package_folder() / "evaluate" / "tasks"
FILES = [path for path in sorted(TASKS.glob("*.yaml")) if not path.name.startswith("_")]


def test_there_is_a_task_for_every_set_but_programs() -> None:
    built = {*texts(Path()), *tasks(Path())} - {"humaneval", "humaneval-infill", "mbpp"}
    assert {path.stem for path in FILES} == built | {"six", "published"}


def test_every_set_is_pinned() -> None:
    assert {Path(name).stem for name in pinned()} == {*texts(Path()), *tasks(Path())}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_task_names_the_file_of_its_set(path: Path) -> None:
    task = yaml.safe_load(path.read_bytes())
    if task.get("group") == "aurora_published":
        assert not any(name.startswith("aurora_") for name in task["task"])
        return
    if "group" in task:
        assert set(task["task"]) <= {
            f"aurora_{other.stem.replace('-', '_')}" for other in FILES
        }  # each holds the task of its name, as below
        return
    assert task["task"] == f"aurora_{path.stem.replace('-', '_')}"
    assert task["dataset_kwargs"]["data_files"]["test"] == f"sets/{path.stem}.jsonl"
    assert (TASKS / task["include"]).is_file()


ROWS: dict[str, list[dict[str, Any]]] = {
    "pud-fi": [{"text": "Nopea ruskea kettu hyppää laiskan koiran yli."}, {"text": "Kettu."}],
    "arc-easy": [
        {
            "context": f"Question: {i} + 1?\nAnswer: ",
            "choices": [f"{i + 1}", "x y"],
            "answer": i % 2,
        }
        for i in range(6)
    ],
    "lambada": [{"context": "The dog does not", "choices": [" mind"], "answer": 0}],
}


@pytest.mark.skipif(not importlib.util.find_spec("lm_eval"), reason="lm_eval is not installed")
def test_the_harness_says_what_we_say(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    for name, rows in ROWS.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "sets" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "lm_eval", "--model", "hf", "--device", "cpu",
         "--model_args", f"pretrained={tiny_llama},dtype=float32,prefix_token_id=0",
         "--include_path", str(TASKS), "--tasks", "aurora_pud_fi,aurora_arc_easy,aurora_lambada",
         "--output_path", "out"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    [path] = (tmp_path / "out").rglob("results_*.json")
    theirs = json.loads(path.read_bytes())["results"]
    settings = Settings(exact=True)
    [ours] = evaluate(
        [str(tiny_llama)], None, [tmp_path / "sets"], tmp_path, settings
    ).models.values()
    bits = ours["bits_per_byte"]["pud-fi"]["bits_per_byte"]
    assert theirs["aurora_pud_fi"]["bits_per_byte,none"] == pytest.approx(bits, rel=1e-4)
    for key, name in (("acc,none", "accuracy"), ("acc_norm,none", "accuracy_norm")):
        assert theirs["aurora_arc_easy"][key] == ours["choice"]["arc-easy"][name]
    assert theirs["aurora_lambada"]["acc,none"] == ours["choice"]["lambada"]["accuracy"]
