"""Checkpoints are whole, checked, pruned by rule, and refuse what would not repeat."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aurora_release.errors import AuroraError
from aurora_release.recipe import Keep, Train, TrainStage
from aurora_release.shipped import shipped
from aurora_release.train import engine as engines
from aurora_release.train import model as models
from aurora_release.train.checkpoints import layout
from aurora_release.train.checkpoints.checkpoint import Checkpoints

TRAIN = Train(
    stages=(TrainStage(name="cap", tokens=1, mixture={"a": 1.0}, learning_rate=1e-2),),
    micro_batch=1, global_batch=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def engine(group: dict[str, str], tiny_llama: Path) -> Iterator[Any]:
    before = dict(os.environ)
    os.environ.update(group)
    started = engines.start(models.load(tiny_llama, TRAIN), TRAIN, shipped("train/zero/zero1.json"))
    yield started
    started.destroy()
    os.environ.clear()
    os.environ.update(before)


def _step(engine: Any, number: int) -> None:
    tokens = torch.arange(24).view(1, -1) + number
    for group in engine.optimizer.param_groups:
        group["lr"] = 1e-2
    engine.backward(engine(input_ids=tokens, labels=tokens, use_cache=False).loss)
    engine.step()


def _checkpoints(engine: Any, folder: Path, keep: Keep | None = None, **now: Any) -> Checkpoints:
    return Checkpoints(folder, keep or Keep(last=9), layout.layout(engine, TRAIN) | now)


def _names(checkpoints: Checkpoints) -> list[int]:
    checkpoints.settle()
    return [int(path.name.removeprefix("step-")) for path in checkpoints.whole()]


def _weights(engine: Any) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in engine.module.parameters()]


def test_resume_brings_back_weights_moments_chance_and_state(engine: Any, tmp_path: Path) -> None:
    checkpoints = _checkpoints(engine, tmp_path / "c")
    _step(engine, 0)
    state = {"losses": [1.5, 0.1], "bits_per_byte": 0.7}
    checkpoints.save(engine, 1, state)
    _step(engine, 1)
    drawn, weights = torch.rand(3), _weights(engine)
    assert checkpoints.resume(engine) == (1, state)
    _step(engine, 1)
    assert torch.equal(torch.rand(3), drawn)
    for found, wanted in zip(_weights(engine), weights, strict=True):
        assert torch.equal(found, wanted)


def test_files_of_equal_checkpoints_are_equal(engine: Any, tmp_path: Path) -> None:
    checkpoints = _checkpoints(engine, tmp_path / "c")
    for step in (1, 2, 3, 4):
        checkpoints.save(engine, step, {})
    checkpoints.settle()
    files = [(path / "rank-00000.safetensors").read_bytes() for path in checkpoints.whole()]
    assert len(files) == 4
    assert len(set(files)) == 1


@pytest.mark.parametrize("name", ["rank-00000.safetensors", "checkpoint.json"])
def test_damaged_checkpoint_is_named_and_the_one_before_is_used(
    name: str, engine: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(logging.getLogger("aurora_release"), "propagate", True)
    checkpoints = _checkpoints(engine, tmp_path / "c")
    for step in (1, 2):
        checkpoints.save(engine, step, {"from": step})
    checkpoints.settle()
    path = checkpoints.whole()[-1] / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert checkpoints.resume(engine) == (1, {"from": 1})
    assert "step-000000002 is damaged" in caplog.text


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (Keep(last=2), [5, 6]),
        (Keep(last=1, every=2), [2, 4, 6]),
        (Keep(last=1, best=True), [3, 6]),
    ],
    ids=["last", "every", "best"],
)
def test_rule_decides_what_stays(keep: Keep, left: list[int], engine: Any, tmp_path: Path) -> None:
    checkpoints = _checkpoints(engine, tmp_path / "c", keep)
    for step, bits in enumerate((2.0, 1.5, 1.2, 1.4, None, 1.3), start=1):
        checkpoints.save(engine, step, {} if bits is None else {"bits_per_byte": bits})
    assert _names(checkpoints) == left


def test_what_nobody_chose_must_not_change(engine: Any, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    checkpoints = _checkpoints(engine, folder)
    checkpoints.save(engine, 3, {})
    checkpoints.settle()
    changed = {"threads": 64, "torch": "2.0.0"}
    with pytest.raises(AuroraError, match=r"another threads, torch .*64.*deterministic=false"):
        _checkpoints(engine, folder, **changed).resume(engine)
    now = layout.layout(engine, TRAIN) | changed
    allowed = Checkpoints(folder, Keep(), now, deterministic=False)
    assert allowed.resume(engine)[0] == 3
    assert [(entry["after"], entry["threads"]) for entry in allowed.history] == [
        (0, torch.get_num_threads()), (3, 64),
    ]  # fmt: skip


def test_full_disk_is_said_before_a_checkpoint_begins(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    checkpoints = _checkpoints(engine, tmp_path / "c")
    with pytest.raises(AuroraError, match="A checkpoint needs .* free"):
        checkpoints.save(engine, 1, {})
    assert _names(checkpoints) == []
