"""What a stage writes down: a line now and then, event files, curves and a report."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from aurora_release.train.watch.progress import Progress

pytestmark = pytest.mark.filterwarnings("ignore")  # DeepSpeed and what it imports


def test_a_line_every_ten_seconds_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aurora_release")
    seconds = iter(range(0, 1000, 2))
    progress = Progress("cap", 0, 30, clock=lambda: float(next(seconds) // 2 * 2))
    with progress:
        for step in range(1, 31):
            row = {"step": step, "tokens": step * 512, "loss": 2.0, "learning_rate": 1e-3}
            progress.step(row | {"tokens_per_second": 256.0})
    said = [record.getMessage() for record in caplog.records]
    assert 5 <= len(said) <= 10
    assert re.search(r"step 1/30 +loss 2.000 .* 256 tokens/s +58 s left", said[0])
    assert "step 30/30" in said[-1]


def test_report_holds_curves_floors_and_skipped_batches(
    tiny_recipe: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    how = ("train.stages.0.tokens=1536", "train.watch.validate_every=4", "train.tensorboard=true",
           "train.watch.floors={'*': -0.9}", "train.watch.on_breach=warn")  # fmt: skip
    found = train(tiny_recipe, tmp_path, *how) / "cap"
    page = (found / "report.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") >= 4
    assert "http" not in page and "<script" not in page
    assert "-90 %" in page and "broken" in page
    names = {path.name for path in (found / "curves").iterdir()}
    assert {"loss.png", "learning-rate.png", "gains-and-forgetting.png"} <= names


def test_event_files_hold_every_step_and_validation(
    tiny_recipe: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    how = ("train.stages.0.tokens=1536", "train.watch.validate_every=4", "train.tensorboard=true")
    found = train(tiny_recipe, tmp_path, *how) / "cap"
    board = accumulator.EventAccumulator(str(found / "tensorboard")).Reload()
    rows = [json.loads(line) for line in (found / "metrics.jsonl").read_text("utf-8").splitlines()]
    losses = [(event.step, pytest.approx(event.value)) for event in board.Scalars("train/loss")]
    assert [(row["step"], row["loss"]) for row in rows] == losses
    assert [event.step for event in board.Scalars("bits per byte/fi")] == [0, 4, 8, 12]
