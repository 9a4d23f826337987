"""A bad batch is told, leaves no trace in the weights, and is named."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from aurora_release import evidence
from aurora_release.errors import AuroraError
from aurora_release.evidence import sha256_file
from aurora_release.recipe import Train, TrainStage, Watch
from aurora_release.shipped import shipped
from aurora_release.train.watch.spikes import Losses, Valve

pytestmark = pytest.mark.filterwarnings("ignore")  # DeepSpeed and what it imports

GROUP = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # this process's
STAGE = TrainStage(name="cap", tokens=1, mixture={"a": 1.0}, learning_rate=1e-2)


def test_limit_is_deviations_above_the_median_of_a_full_window() -> None:
    losses = Losses(Watch(spike=2.0, window=5), [3.0, 1.0, 2.0, 5.0])
    assert losses.limit == math.inf
    losses.last.append(4.0)
    assert losses.limit == pytest.approx(3.0 + 2.0 * 1.4826 * 1.0)
    assert losses.fault(5.9) is None
    assert losses.fault(6.0) == "the loss, 6, is above 5.965"
    assert losses.fault(math.nan) == "the loss is nan"
    assert Losses(Watch(spike=None, window=1), [1.0]).fault(1e9) is None


def _digest(value: Any) -> list[bytes]:
    """Return the bits of every tensor in a nest of optimizer or model state."""
    if isinstance(value, torch.Tensor):
        return [value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()]
    if isinstance(value, dict):
        return [found for key in value for found in _digest(value[key])]
    if isinstance(value, (list, tuple)):
        return [found for item in value for found in _digest(item)]
    return []


def _after(folder: Path, zero: str, precision: str, faults: str) -> list[bytes]:
    """Train on numbered batches, some of which are bad; return all that a checkpoint would hold.

    `.` is a good batch, `x` one whose loss is refused, `n` one whose gradient is no number.
    """
    from transformers import AutoModelForCausalLM

    from aurora_release.train import engine as engines

    train = Train(stages=(STAGE,), micro_batch=1, global_batch=2, precision=precision)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    engine = engines.start(model, train, shipped(f"train/zero/{zero}.json"))
    for group in engine.optimizer.param_groups:
        group["lr"] = 1e-2
    valve, seed = Valve(engine), 0
    for fault in faults:
        seed += fault == "."
        tokens = torch.randint(
            3, 300, (2, 1, 16), generator=torch.Generator().manual_seed(seed if fault == "." else 9)
        )
        valve.closed = fault == "x"
        for number, row in enumerate(tokens):
            logits = engine(input_ids=row, use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits[0, :-1].float(), row[0, 1:])
            engine.backward(loss * math.nan if fault == "n" else loss)
            if not number:
                engine.step()
        assert valve.step() == ("the gradient is not finite" if fault == "n" else None)
    found = [_digest(engine.optimizer.state_dict()), _digest(engine.basic_optimizer.state)]
    if zero != "zero3":
        found.append(_digest(engine.module.state_dict()))
    engine.destroy()
    return found


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("zero", ["zero0", "zero1", "zero2", "zero3"])
@pytest.mark.usefixtures("train")  # its process group
def test_bad_batches_leave_weights_and_moments_as_they_were(
    zero: str, precision: str, tiny_llama: Path
) -> None:
    without = _after(tiny_llama, zero, precision, "...")
    assert without != _after(tiny_llama, zero, precision, "..")
    for faults in ("n..x.", "..nx."):
        assert _after(tiny_llama, zero, precision, faults) == without


@pytest.fixture(scope="module")
def poisoned(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny recipe with one document of noise among its text, and a short window."""
    folder = tmp_path_factory.mktemp("poisoned")
    recipe = yaml.safe_load(tiny_recipe.read_text("utf-8"))
    for source in recipe["data"]["sources"]:
        lines = (tiny_recipe.parent / source["path"]).read_text("utf-8")
        if source["name"] == "fi":
            noise = "".join(chr(33 + (7 * n * n + n // 3) % 90) for n in range(400))
            lines += json.dumps({"id": "poison", "text": noise}) + "\n"
        (folder / source["path"]).write_text(lines, "utf-8")
    recipe["train"]["stages"][0] |= {"learning_rate": 0.02, "tokens": 60 * 4 * 32}
    recipe["train"] |= {"checkpoint_every": 5, "watch": {"window": 8, "spike": 6.0}}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def _skipped(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "skipped.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def whole(
    train: Callable[..., Path], poisoned: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The trained stage of a run over the noise that nothing disturbed."""
    return train(poisoned, tmp_path_factory.mktemp("whole")) / "cap"


def test_poisoned_batches_are_skipped_and_named(whole: Path) -> None:
    skipped = _skipped(whole)
    assert len(skipped) >= 3
    for entry in skipped:
        assert "poison" in [name for sample in entry["samples"] for name in sample["documents"]]
    steps = [entry["step"] for entry in skipped]
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [row["step"] for row in rows if row["skipped"]] == steps
    measured = evidence.measured(evidence.read(whole / "evidence.json"))
    assert [entry["step"] for entry in measured["skipped"]] == steps


def test_run_killed_after_a_skip_ends_with_the_same_bytes(
    poisoned: Path, whole: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    partial = tmp_path / "tiny" / "cap.partial"
    first, kept = _skipped(whole)[0]["step"], "checkpoints/step-*[0-9]"
    command = [sys.executable, "-m", "aurora_release", "run", str(poisoned),
               "--runs", str(tmp_path), "--until", "cap"]  # fmt: skip
    alone = {key: value for key, value in os.environ.items() if key not in GROUP}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=alone) as process:
        until = time.monotonic() + 180
        while not any(int(path.name[5:]) >= first for path in partial.glob(kept)):
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < until, "no checkpoint was written"
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
    assert _skipped(partial)[0]["step"] == first
    found = train(poisoned, tmp_path) / "cap"
    assert sha256_file(found / "model.safetensors") == sha256_file(whole / "model.safetensors")
    assert (found / "skipped.jsonl").read_bytes() == (whole / "skipped.jsonl").read_bytes()


def test_too_many_skips_stop_and_more_go_on(
    poisoned: Path, whole: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(AuroraError, match=r"batches of 2 steps .*max_skips \(1\)"):
        train(poisoned, tmp_path, "train.watch.max_skips=1")
    with pytest.raises(AuroraError, match="of 2 steps"):  # nothing is trained in vain
        train(poisoned, tmp_path, "train.watch.max_skips=1")
    found = train(poisoned, tmp_path) / "cap"
    assert sha256_file(found / "model.safetensors") == sha256_file(whole / "model.safetensors")


def test_two_ranks_skip_and_measure_as_one_does(
    poisoned: Path, train: Callable[..., Path], tmp_path: Path
) -> None:
    how = ("train.stages.0.tokens=3840", "train.watch.validate_every=15",
           "train.zero=shipped:train/zero/zero2.json")  # fmt: skip
    command = [sys.executable, "-m", "aurora_release", "train", str(poisoned), *how,
               "--runs", str(tmp_path / "two"), "--launch", "torchrun", "--ranks", "2"]  # fmt: skip
    alone = {key: value for key, value in os.environ.items() if key not in GROUP}
    done = subprocess.run(command, capture_output=True, text=True, env=alone, check=False)
    assert done.returncode == 0, done.stderr
    two, one = tmp_path / "two" / "tiny" / "cap", train(poisoned, tmp_path / "one", *how) / "cap"
    assert [entry["samples"] for entry in _skipped(two)] == [
        entry["samples"] for entry in _skipped(one)
    ]
    lines = [
        [json.loads(line) for line in (folder / "validation.jsonl").read_text("utf-8").splitlines()]
        for folder in (two, one)
    ]
    assert [line["step"] for line in lines[0]] == [0, 15, 30]
    for mine, other in zip(*lines, strict=True):
        for name, row in mine["sets"].items():
            expected = other["sets"][name]
            assert row["bits_per_byte"] == pytest.approx(expected["bits_per_byte"], rel=0.02)
            sizes = [[size for _, size in found["documents"]] for found in (row, expected)]
            assert sizes[0] == sizes[1]
