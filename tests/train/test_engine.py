"""The DeepSpeed configuration is the user's file with the recipe's numbers filled in."""

from pathlib import Path

import pytest

from aurora_release.errors import AuroraError
from aurora_release.recipe import Train, TrainStage
from aurora_release.shipped import shipped
from aurora_release.train.engine import configuration

TRAIN = Train(
    stages=(TrainStage(name="cap", tokens=1, mixture={"a": 1.0}, learning_rate=1e-3),),
    micro_batch=2, global_batch=8, precision="bf16",
)  # fmt: skip


@pytest.mark.parametrize("path", sorted(shipped("train/zero").glob("*.json")), ids=lambda p: p.stem)
def test_shipped_files_are_filled_in(path: Path) -> None:
    config = configuration(TRAIN, path, ranks=2)
    assert config["train_batch_size"] == 8
    assert config["train_micro_batch_size_per_gpu"] == 2
    assert config["bf16"] == {"enabled": True}
    assert config["zero_optimization"]["stage"] == int(path.stem[len("zero")])


def test_batch_that_does_not_divide_by_the_ranks_is_refused() -> None:
    with pytest.raises(AuroraError, match=r"global_batch is 8: .*2, times 3 ranks"):
        configuration(TRAIN, shipped("train/zero/zero1.json"), ranks=3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ('{"train_batch_size": 4}', "sets train_batch_size; the recipe"),
    ],
)
def test_bad_file_is_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(AuroraError, match=message):
        configuration(TRAIN, path, ranks=1)
