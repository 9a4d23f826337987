"""Ranks are started, stopped and blamed; what they had saved stays."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aurora_release.errors import AuroraError
from aurora_release.train.launch import pulse
from aurora_release.train.launch.launcher import (
    Launch,
    between_looks,
    command,
    first_failure,
    travelling,
)  # fmt: skip
from aurora_release.train.launch.slurm import write

PATIENCE = 240


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none", 2), "2 ranks need a launcher"),
        (("slurm", 6, 4), r"--ranks 6 is not a multiple of --nodes 4"),
        (("torchrun", 4, 2), "torchrun starts the ranks of one node"),
        (("torchrun", 2, 1, Path("hosts")), "--hostfile is for"),
    ],
)
def test_launch_that_cannot_be_is_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(AuroraError, match=message):
        Launch(*arguments)  # type: ignore[arg-type]


def test_hostfile_reaches_deepspeed() -> None:
    words = command(Launch("deepspeed", 4, 2, Path("hosts")), Path("job.json"))
    at = words.index("--hostfile")
    assert words[at : at + 6] == ["--hostfile", "hosts", "--num_nodes", "2", "--num_gpus", "2"]


def test_batch_file_is_bash_that_runs_this_recipe_again(tmp_path: Path) -> None:
    told = write(tmp_path / "big", Launch("slurm", 16, 2), ["my recipe.yaml", "seed=7"], "cat")
    path = tmp_path / "big" / "train.sbatch"
    assert f"sbatch {path}" in told
    text = path.read_text(encoding="utf-8")
    assert "#SBATCH --nodes=2\n#SBATCH --ntasks-per-node=8\n" in text
    assert "train 'my recipe.yaml' seed=7 --stage cat --launch slurm --ranks 16 --nodes 2" in text
    subprocess.run(["bash", "-n", path], check=True)


class Run:
    """`aurora train` of a recipe on two ranks."""

    def __init__(self, recipe: Path, runs: Path) -> None:
        self.command = [
            sys.executable, "-m", "aurora_release", "train", str(recipe),
            "train.checkpoint_every=5", "--runs", str(runs), "--ranks", "2",
        ]  # fmt: skip
        self.stage = runs / "tiny" / "cap.partial"

    def start(self, launch: str) -> "subprocess.Popen[str]":
        """Start, and return once a checkpoint more than before is whole."""
        had = len(self.saved())
        process = subprocess.Popen(
            [*self.command, "train.keep.last=99", "--launch", launch],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until = time.monotonic() + PATIENCE
        while len(self.saved()) == had:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until, "no checkpoint was written"
            time.sleep(0.01)
        return process

    def saved(self) -> list[str]:
        return sorted(path.name for path in (self.stage / "checkpoints").glob("step-?????????"))

    def rank(self, number: int) -> int:
        """Return the process of a rank."""
        content = json.loads((self.stage / "ranks" / f"rank-{number:05d}.json").read_bytes())
        return int(content["pid"])


def test_ranks_stop_together_fail_together_and_go_on(tiny_recipe: Path, tmp_path: Path) -> None:
    run = Run(tiny_recipe, tmp_path)

    process = run.start("deepspeed")
    os.kill(run.rank(1), signal.SIGKILL)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 2, said
    assert "rank 1 of 2 failed and the others were stopped. It ended without a word" in said
    assert f"The same command goes on from {run.saved()[-1]}" in said

    process = run.start("torchrun")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130, said
    step = int(said.rpartition("cap stopped after step ")[2].partition(" ")[0])

    alone = [word if word != "2" else "1" for word in run.command]
    done = subprocess.run(alone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"cap            goes on at step {step}," in done.stderr
    cap = tmp_path / "tiny" / "cap"
    assert not (cap / "ranks").exists()
    layouts = json.loads((cap / "evidence.json").read_bytes())["predicate"]["measured"]["layouts"]
    assert [(row["after"], row["ranks"]) for row in layouts] == [(0, 2), (step, 1)]


def test_mistake_that_a_rank_finds_is_the_message(tiny_recipe: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text('{"bf16": {"enabled": true}}', encoding="utf-8")
    run = Run(tiny_recipe, tmp_path)
    done = subprocess.run(
        [*run.command, "--launch", "torchrun", f"train.zero={mine}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"{mine} sets bf16; the recipe says it, so remove it there." in done.stderr
    assert "begins again: no checkpoint yet" in done.stderr
    assert "Traceback" not in done.stderr


def test_batch_that_does_not_divide_is_refused_before_anything_starts(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    from aurora_release import chain

    with pytest.raises(AuroraError, match=r"global_batch is 4: .*2, times 3 ranks"):
        chain.train(str(tiny_recipe), (), tmp_path, None, Launch("torchrun", 3))
    assert not (tmp_path / "tiny").exists()


def test_machine_that_is_lost_is_named_and_not_the_rank_that_noticed() -> None:
    noticed = {"state": "failed", "own": False, "at": 9.0, "message": "Connection closed by peer"}
    lost = {"state": "running", "host": "node-b", "at": 1.0}
    number, message = first_failure([noticed, lost], [])
    assert number == 1
    assert "It ran on node-b and is not heard of any more" in message
    assert "take it out of the hostfile and give fewer --nodes" in message

    mistake = {"state": "failed", "own": True, "at": 8.0, "message": "train.zero: no such file"}
    assert first_failure([mistake, lost], []) == (0, "train.zero: no such file")


def test_threads_travel_to_every_machine_and_secrets_do_not(tmp_path: Path) -> None:
    here = {"OMP_NUM_THREADS": "4", "HF_HOME": "/my models", "HF_TOKEN": "hf_x", "LANG": "C"}
    file = travelling(here, tmp_path)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("HF_HOME='/my models'\nOMP_NUM_THREADS=4\n")
    assert "hf_x" not in text
    assert file.stat().st_mode & 0o077 == 0


def test_a_thousand_ranks_are_looked_at_as_gently_as_a_few() -> None:
    assert between_looks(8) == between_looks(1) == 0.2
    assert 128 / between_looks(128) == pytest.approx(100)
    assert between_looks(1000) == between_looks(100_000) == pulse.BEAT
