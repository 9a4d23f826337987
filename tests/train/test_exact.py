"""N steps are k steps, kill -9 and a resume, to the byte; other layouts see the same samples."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aurora_release.evidence import sha256_file
from aurora_release.shipped import shipped_names

STEPS = 12
KILLED_AFTER = 4
LAYOUTS = list(itertools.product(("llama", "bigcode"), (1, 2), ("zero0", "zero2")))
EVERY_FILE = shipped_names("train/zero", ".json")
# relative difference of the loss of a global batch after a change of layout, in fp32
TOLERANCE = 2e-6

Curves = dict[str, list[dict[str, Any]]]


def _name(model: str, ranks: int, zero: str) -> str:
    return f"{model}-{ranks}-{zero}"


@pytest.fixture(scope="module")
def trained(
    tiny_recipe: Path, tiny_llama: Path, tiny_bigcode: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:  # fmt: skip
    """The folder below which every scenario was trained, by its name."""
    folder = tmp_path_factory.mktemp("exact")
    models = {"llama": tiny_llama, "bigcode": tiny_bigcode}

    def scenario(
        name: str, model: str, ranks: int, zero: str, *more: str, kill_after: int | None = None
    ) -> dict[str, Any]:
        overrides = [
            f"model.base={models[model]}", f"train.stages.0.tokens={STEPS * 4 * 32}",
            "train.checkpoint_every=2", "train.keep.last=9",
            f"train.zero=shipped:train/zero/{zero}.json", *more,
        ]  # fmt: skip
        return {
            "recipe": str(tiny_recipe), "inputs": str(folder / f"inputs-{model}"),
            "folder": str(folder / name), "ranks": ranks, "overrides": overrides,
            "kill_after": kill_after,
        }  # fmt: skip

    scenarios = []
    for model, ranks, zero in LAYOUTS:
        name = _name(model, ranks, zero)
        scenarios += [
            scenario(f"{name}-alone", model, ranks, zero),
            scenario(f"{name}-killed", model, ranks, zero, kill_after=KILLED_AFTER),
            scenario(f"{name}-killed", model, ranks, zero),
        ]
    fp32 = "train.precision=fp32"
    scenarios += [
        scenario("one", "llama", 1, "zero2", fp32),
        scenario("moved", "llama", 1, "zero2", fp32, kill_after=2),
        scenario("moved", "llama", 2, "zero0", fp32, "train.micro_batch=1", kill_after=6),
        scenario("moved", "llama", 1, "zero3", fp32, "train.micro_batch=4"),
    ]
    scenarios += [scenario(f"file-{zero}", "llama", 2, zero) for zero in EVERY_FILE]
    plan = folder / "scenarios.json"
    plan.write_text(json.dumps(scenarios), encoding="utf-8")
    zygote = [sys.executable, str(Path(__file__).with_name("zygote.py")), str(plan)]
    done = subprocess.run(zygote, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def _metrics(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _tensors(folder: Path) -> dict[str, str]:
    """Return digests of weights, moments and random states of all ranks after the last step."""
    last = folder / "checkpoints" / f"step-{STEPS:09d}"
    return {path.name: sha256_file(path) for path in sorted(last.glob("rank-*"))}


@pytest.mark.parametrize(("model", "ranks", "zero"), LAYOUTS)
def test_killed_and_resumed_ends_with_the_same_bytes(
    model: str, ranks: int, zero: str, trained: Path
) -> None:
    alone = trained / f"{_name(model, ranks, zero)}-alone"
    killed = trained / f"{_name(model, ranks, zero)}-killed"
    assert len(_tensors(alone)) == ranks
    assert _tensors(killed) == _tensors(alone)
    weights = sha256_file(alone / "model.safetensors")
    assert sha256_file(killed / "model.safetensors") == weights
    losses = [row["loss"] for row in _metrics(killed)]
    assert losses == [row["loss"] for row in _metrics(alone)]
    assert losses[-1] < losses[0]


def test_other_ranks_zero_and_micro_batch_see_the_same_samples(trained: Path) -> None:
    one, moved = _metrics(trained / "one"), _metrics(trained / "moved")
    for key in ("step", "tokens", "labels", "samples", "learning_rate"):
        assert [row[key] for row in moved] == [row[key] for row in one]
    assert len({row["samples"] for row in one}) == STEPS
    for before, after in zip(one, moved, strict=True):
        assert after["loss"] == pytest.approx(before["loss"], rel=TOLERANCE)


def test_layouts_are_recorded_with_the_steps_they_began_after(trained: Path) -> None:
    last = trained / "moved" / "checkpoints" / f"step-{STEPS:09d}" / "checkpoint.json"
    layouts = json.loads(last.read_text(encoding="utf-8").splitlines()[1])["layouts"]
    found = [(row["after"], row["ranks"], row["zero"], row["micro_batch"]) for row in layouts]
    assert [row[1:] for row in found] == [(1, 2, 2), (2, 0, 1), (1, 3, 4)]
    # a kill falls after the checkpoint it waited for, or after one more
    assert found[0][0] == 0
    assert 2 <= found[1][0] < found[2][0] < STEPS


@pytest.mark.parametrize("zero", EVERY_FILE)
def test_every_zero_file_trains_on_two_ranks_and_exports(zero: str, trained: Path) -> None:
    folder = trained / f"file-{zero}"
    assert (folder / "model.safetensors").stat().st_size > 100_000
    first = _metrics(trained / "file-zero0")[0]["loss"]
    assert _metrics(folder)[0]["loss"] == pytest.approx(first, rel=1e-3)
