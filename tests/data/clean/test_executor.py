"""The same bytes come from Slurm; what is missing for a cluster is said before anything runs."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aurora_release import evidence, recipe
from aurora_release.data.clean import executor
from aurora_release.data.clean.stage import clean
from aurora_release.errors import AuroraError
from aurora_release.run import Job
from aurora_release.shipped import package_folder, shipped

# what Slurm's commands do, on one machine: an array job is run when it is submitted
CLUSTER = {
    "sbatch": """
        script="${@: -1}"
        cp "$script" "$CLUSTER_LOG/$RANDOM$RANDOM.sbatch"
        echo "Submitted batch job 7"
        grep -q merge_stats "$script" && exit
        last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
        export SLURM_NODELIST=here RUN_OFFSET=0
        for task in $(seq 0 "$last"); do
            SLURM_ARRAY_TASK_ID=$task bash "$script" >>"$CLUSTER_LOG/out" 2>&1
        done
        exit 0
    """,
    "srun": """
        while [ "$1" != launch_pickled_pipeline ]; do shift; done
        exec "$@"
    """,
    "scontrol": "echo here",
    "squeue": "exit 0",
}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Slurm's commands, first in PATH, and of what was submitted."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, script in CLUSTER.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}", encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setenv("CLUSTER_LOG", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(package_folder().parent))
    return folder


def _job(folder: Path, **how: object) -> Job:
    lines = shipped("train/corpus/fi.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "part").mkdir(exist_ok=True)
    (folder / "part/a.jsonl").write_bytes(b"".join(lines[:40]))
    (folder / "b.jsonl").write_bytes(b"".join(lines[30:80]))
    demo, _ = recipe.load("demo")
    source = demo.data.sources[1]
    both = [source.model_copy(update={"name": name, "path": path})
            for name, path in (("a", "part"), ("b", "b.jsonl"))]  # fmt: skip
    data = demo.data.model_copy(
        update={"sources": tuple(both), "executor": recipe.Executor.model_validate(how)}
    )
    (folder / "clean").mkdir()
    return Job(demo.model_copy(update={"data": data}), folder, folder / "clean", {})


def test_slurm_gives_the_bytes_of_one_machine(
    tmp_path: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    here = _job(tmp_path / "here", kind="local", workers=1)
    report = clean(here)
    (tmp_path / "there").mkdir()
    there = _job(tmp_path / "there", kind="slurm", workers=3, partition="small", hours=2)
    monkeypatch.setattr(executor, "_POLL", 0.01)
    assert clean(there) == report
    assert evidence.digests(there.folder) == evidence.digests(here.folder)
    assert report["sources"]["b"]["removed"]["repeated"] > 0
    submitted = [path.read_text("utf-8") for path in cluster.glob("*.sbatch")]
    (sift,) = [
        script for script in submitted if "aurora-sift" in script and "--array=0-1" in script
    ]
    for line in ("--partition=small", "--time=2:00:00", "--array=0-1%2"):
        assert f"#SBATCH {line}" in sift


def test_a_task_that_fails_on_slurm_is_named(
    tmp_path: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cluster / "srun").write_text("#!/bin/bash\nexit 1\n", encoding="utf-8")
    monkeypatch.setattr(executor, "_POLL", 0.01)
    job = _job(tmp_path, kind="slurm")
    with pytest.raises(AuroraError, match=r"2 of 2 tasks of 'sift' did not end well"):
        clean(job)
    (cluster / "sbatch").write_text("#!/bin/bash\nexit 1\n", encoding="utf-8")
    with pytest.raises(AuroraError, match="sbatch refused the job of 'sift'"):
        clean(job)


def test_what_a_cluster_needs_is_said(tmp_path: Path) -> None:
    job = _job(tmp_path, kind="slurm")
    if not shutil.which("sbatch"):
        with pytest.raises(AuroraError, match="sbatch is not on this machine"):
            clean(job)
    how = recipe.Executor(kind="ray")
    data = job.recipe.data.model_copy(update={"executor": how})
    with pytest.raises(AuroraError, match="pip install 'ray"):
        clean(replace(job, recipe=job.recipe.model_copy(update={"data": data})))
