"""Runs the passes of cleaning on this machine, on Slurm or on Ray, by one key of the recipe."""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.executor.base import PipelineExecutor
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from loguru import logger as datatrove_log

from aurora_release.errors import AuroraError
from aurora_release.recipe import Executor

log = logging.getLogger(__name__)

_POLL = 5.0
"""Seconds between two looks at a cluster's queue."""

# one voice speaks to the user, ours; on a cluster datatrove's goes to the log of each task
if "SLURM_ARRAY_TASK_ID" not in os.environ:
    datatrove_log.disable("datatrove")


def run(how: Executor, name: str, steps: list[PipelineStep], tasks: int, folder: Path) -> None:
    """Do the tasks of a pass that are not done yet; `folder` remembers which are.

    Raises:
        AuroraError: the cluster's commands are missing, or tasks failed there.
    """
    passing = executor(how, name, steps, tasks, folder / "tasks" / name.replace(" ", "-"))
    try:
        passing.run()
    except subprocess.CalledProcessError as error:
        raise AuroraError(
            f"sbatch refused the job of {name!r} (exit code {error.returncode}; its reason is "
            "above). Check data.executor.partition and data.executor.hours."
        ) from None
    if how.kind == "slurm":
        _wait(passing, name)
    if left := passing.get_incomplete_ranks():
        raise AuroraError(
            f"{len(left)} of {tasks} tasks of {name!r} did not end well (the first is {left[0]}); "
            f"their logs are in {passing.logging_dir.path}. Run the same command to go on."
        )


def executor(
    how: Executor, name: str, steps: list[PipelineStep], tasks: int, folder: Path
) -> PipelineExecutor:
    """Return datatrove's executor of the kind that the recipe names."""
    workers = min(how.workers or os.cpu_count() or 1, tasks)
    common: dict[str, Any] = {"tasks": tasks, "workers": workers, "logging_dir": str(folder)}
    if how.kind == "local":
        return _Local(steps, name=name, **common)
    if how.kind == "slurm":
        if not shutil.which("sbatch"):
            raise AuroraError(
                "sbatch is not on this machine, and data.executor.kind is slurm: run the command "
                "on a login node, or set data.executor.kind=local."
            )
        return SlurmPipelineExecutor(
            steps,
            time=f"{how.hours}:00:00",
            partition=how.partition,
            job_name=f"aurora-{name.replace(' ', '-')}",
            env_command=f"export PATH={Path(sys.executable).parent}:$PATH",
            qos="",
            **common,
        )
    try:
        import ray  # noqa: F401
    except ImportError:
        raise AuroraError(
            "ray is not installed, and data.executor.kind is ray: pip install 'ray[default]', or "
            "set data.executor.kind=local."
        ) from None
    from datatrove.executor.ray import RayPipelineExecutor

    return RayPipelineExecutor(steps, **common)


class _Local(LocalPipelineExecutor):  # type: ignore[misc]
    """datatrove's local executor with a line a task, and no second process for one worker."""

    def __init__(self, steps: list[PipelineStep], name: str, **more: Any) -> None:
        super().__init__(steps, **more)
        self._name = name

    def run(self) -> None:
        """Do the tasks that are not done yet."""
        todo = self.get_incomplete_ranks()
        began = time.monotonic()
        for done, rank in enumerate(self._done(todo), self.tasks - len(todo) + 1):
            log.debug("clean          %s: task %d", self._name, rank)
            if time.monotonic() - began > 2 or done == self.tasks:
                log.info("clean          %-18s %5d of %d shards", self._name, done, self.tasks)
                began = time.monotonic()

    def _done(self, ranks: list[int]) -> Iterator[int]:
        """Yield the tasks as they end."""
        if self.workers == 1 or len(ranks) <= 1:
            for rank in ranks:
                yield self._one(rank)
            return
        import multiprocess  # datatrove's: it pickles what the standard one does not

        with multiprocess.get_context("forkserver").Pool(self.workers) as pool:
            yield from pool.imap_unordered(self._one, ranks)

    def _one(self, rank: int) -> int:
        self._run_for_rank(rank)
        return rank


def _wait(passing: SlurmPipelineExecutor, name: str) -> None:
    """Return when the jobs of a pass have left the queue."""
    began = len(passing.get_incomplete_ranks())
    while left := len(passing.get_incomplete_ranks()):
        if left != began:
            log.info(
                "clean          %-18s %5d of %d shards", name, passing.tasks - left, passing.tasks
            )
            began = left
        queue = ["squeue", "--noheader", "--job", str(passing.job_id)]
        if not subprocess.run(queue, capture_output=True, check=False).stdout.strip():
            return
        time.sleep(_POLL)
