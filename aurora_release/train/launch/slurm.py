"""Writes the batch file that Slurm runs."""

import shlex
import sys
from pathlib import Path

import jinja2

from aurora_release import atomic
from aurora_release.shipped import shipped
from aurora_release.train.launch.launcher import Launch


def write(folder: Path, launch: Launch, arguments: list[str], stage: str) -> str:
    """Write `train.sbatch` into a run folder and return how to submit it.

    The template is `train/slurm/train.sbatch`; the file is meant to be read and edited.
    """
    template = shipped("train/slurm/train.sbatch").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "aurora_release", "train", *arguments, "--stage", stage,
               "--launch", "slurm", "--ranks", str(launch.ranks),
               "--nodes", str(launch.nodes)]  # fmt: skip
    text = jinja2.Template(template, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train.sbatch"
    atomic.write_text(path, text.render(
        name=folder.name, nodes=launch.nodes, ranks=launch.ranks,
        ranks_per_node=launch.ranks // launch.nodes, log=folder / "slurm-%j.log",
        command=shlex.join(command),
    ))  # fmt: skip
    return (
        f"{path} is written. Look at its partition, time and devices, then submit it from this "
        f"folder with:  sbatch {path}\nSubmit it again to go on after its time is over."
    )
