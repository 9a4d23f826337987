"""A stage can end with the mean of its last weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from aurora_release import evidence
from aurora_release.recipe import Train, TrainStage
from aurora_release.train.checkpoints.average import snapshots

pytestmark = pytest.mark.filterwarnings("ignore")  # DeepSpeed and what it imports

STAGE = TrainStage(name="cap", tokens=1, mixture={"a": 1.0}, learning_rate=1e-2)


@pytest.mark.parametrize(
    ("average", "steps", "expected"),
    [(1, 100, []), (3, 100, [80, 90]), (3, 101, [90, 100]), (4, 25, [10, 20]), (2, 10, [])],
)
def test_mean_is_over_the_last_regular_checkpoints(
    average: int, steps: int, expected: list[int]
) -> None:
    train = Train(stages=(STAGE,), checkpoint_every=10, average=average)
    assert snapshots(train, steps) == expected


@pytest.mark.parametrize("zero", ["zero0", "zero2", "zero3"])
def test_export_is_the_mean_of_the_weights_of_shorter_stages(
    zero: str, tiny_recipe: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    how = ("train.checkpoint_every=4", "train.keep.last=1", "train.stages.0.schedule_steps=12",
           f"train.zero=shipped:train/zero/{zero}.json")  # fmt: skip
    weights = [
        load_file(
            train(tiny_recipe, tmp_path / f"{steps}", f"train.stages.0.tokens={steps * 128}", *how)
            / "cap" / "model.safetensors"
        )
        for steps in (4, 8, 12)
    ]  # fmt: skip
    three = ("train.stages.0.tokens=1536", "train.average=3", *how)
    found = train(tiny_recipe, tmp_path / "mean", *three) / "cap"
    for name, mean in load_file(found / "model.safetensors").items():
        expected = torch.stack([each[name].float() for each in weights]).mean(0)
        assert torch.allclose(mean.float(), expected, rtol=2**-7, atol=1e-3)
        assert not torch.equal(mean, weights[-1][name])
    assert evidence.measured(evidence.read(found / "evidence.json"))["averaged"] == [4, 8, 12]
