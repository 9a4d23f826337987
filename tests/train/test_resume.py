"""A run that was killed or stopped ends with the same bytes as one that was left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aurora_release.evidence import sha256_file

PATIENCE = 180


def _command(recipe: Path, runs: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "aurora_release", "run", str(recipe), *more,
            "--runs", str(runs), "--until", "cap"]  # fmt: skip


def _train(recipe: Path, runs: Path, *more: str) -> str:
    done = subprocess.run(
        _command(recipe, runs, *more), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def _weights(runs: Path) -> str:
    return sha256_file(runs / "tiny" / "cap" / "model.safetensors")


def _interrupt(recipe: Path, runs: Path, number: signal.Signals, *more: str) -> int:
    """Send a signal once a checkpoint is whole; return the exit code."""
    partial = runs / "tiny" / "cap.partial" / "checkpoints"
    with subprocess.Popen(_command(recipe, runs, *more), stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + PATIENCE
        while not any(path.suffix != ".partial" for path in partial.glob("step-*")):
            assert process.poll() is None, "ended before it could be interrupted"
            assert time.monotonic() < until, "no checkpoint was written"
            time.sleep(0.01)
        os.kill(process.pid, number)
        return process.wait(PATIENCE)


@pytest.fixture(scope="module")
def undisturbed(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("undisturbed")
    _train(tiny_recipe, runs)
    return runs


def test_training_writes_a_model_that_learned(undisturbed: Path) -> None:
    cap = undisturbed / "tiny" / "cap"
    names = {path.name for path in cap.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja",
            "metrics.jsonl", "evidence.json"} <= names  # fmt: skip
    assert "checkpoints" not in names
    lines = [json.loads(line) for line in (cap / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 121))
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 130)]
)
def test_interrupted_run_resumes_to_the_same_bytes(
    number: signal.Signals, code: int, tiny_recipe: Path, undisturbed: Path, tmp_path: Path
) -> None:
    assert _interrupt(tiny_recipe, tmp_path, number) == code
    assert not (tmp_path / "tiny" / "cap").exists()
    said = _train(tiny_recipe, tmp_path)
    assert "goes on at step" in said
    assert _weights(tmp_path) == _weights(undisturbed)
    lines = (tmp_path / "tiny" / "cap" / "metrics.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 121))
