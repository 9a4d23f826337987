"""Starts the ranks of a training stage, watches over them, and says which one failed."""

import json
import logging
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from aurora_release import atomic
from aurora_release.errors import AuroraError, Interrupted
from aurora_release.recipe import Train, TrainStage
from aurora_release.run import Job
from aurora_release.train.launch import pulse
from aurora_release.train.stop import stop_requests

log = logging.getLogger(__name__)

FOLDER = "ranks"
STOP = "stop"
PROGRESS = "progress.log"
_WORKER = "aurora_release.train.launch.worker"
_MOMENT = 0.2
_FILES_A_SECOND = 100
"""At most, of what the ranks say: the disk that a thousand of them share serves others too."""
_GRACE = 5.0
"""Seconds that the other ranks get to say what they saw once one of them has failed."""


@dataclass(frozen=True)
class Launch:
    """How many processes train together, and what starts them."""

    how: Literal["none", "torchrun", "deepspeed", "slurm"] = "none"
    ranks: int = 1
    """Processes over all nodes."""
    nodes: int = 1
    hostfile: Path | None = None
    """Hosts and slots, as DeepSpeed reads them."""

    def __post_init__(self) -> None:
        if self.ranks > 1 and self.how == "none":
            raise AuroraError(
                f"{self.ranks} ranks need a launcher: --launch torchrun, deepspeed or slurm."
            )
        if self.ranks % self.nodes:
            raise AuroraError(
                f"--ranks {self.ranks} is not a multiple of --nodes {self.nodes}: every node "
                "gets as many."
            )
        if self.nodes > 1 and self.how == "torchrun":
            raise AuroraError(
                "--launch torchrun starts the ranks of one node; for more use --launch slurm, or "
                "--launch deepspeed with --hostfile."
            )
        if self.hostfile and self.how != "deepspeed":
            raise AuroraError("--hostfile is for --launch deepspeed.")


def require_divisible(train: Train, ranks: int) -> None:
    """Refuse a global batch that cannot be shared out equally.

    Raises:
        AuroraError: naming the three numbers.
    """
    if train.global_batch % (train.micro_batch * ranks):
        raise AuroraError(
            f"train.global_batch is {train.global_batch}: not a multiple of train.micro_batch, "
            f"{train.micro_batch}, times {ranks} ranks. Change one of them."
        )


def train(job: Job, stage: TrainStage, source: Path, launch: Launch) -> dict[str, Any]:
    """Train `stage` on the ranks of `launch` and return what rank 0 measured.

    Raises:
        Interrupted: it was stopped, and every rank saved.
        AuroraError: a rank failed; the message is that rank's.
    """
    clear(job.folder)
    folder = job.folder / FOLDER
    folder.mkdir()
    path = folder / "job.json"
    # a name of its own: ranks of an earlier launch do not take this one's for theirs
    mine = folder / f"{uuid.uuid4().hex}.pulse"
    mine.touch()
    atomic.write_text(
        path, json.dumps({**_order(job, stage, source), "pulse": str(mine.absolute())})
    )
    with (folder / "launcher.log").open("w", encoding="utf-8") as said:
        process = subprocess.Popen(
            command(launch, path), stdout=said, stderr=said, stdin=subprocess.DEVNULL,
            env=_environment(launch, folder), start_new_session=True,
        )  # fmt: skip
        try:
            with stop_requests((folder / STOP).touch):
                gone = _watch(process, folder, launch.ranks, mine)
        finally:
            mine.unlink(missing_ok=True)
            _end(process)
    measured = _outcome(job, stage, launch.ranks, gone)
    shutil.rmtree(folder)
    return measured


def clear(stage: Path) -> None:
    """Remove what the ranks of an earlier run left, and its wish to stop, from a stage's folder.

    Raises:
        AuroraError: one of them is still there.
    """
    _await_gone(stage / FOLDER)
    shutil.rmtree(stage / FOLDER, ignore_errors=True)


def command(launch: Launch, job: Path) -> list[str]:
    """Return the command that starts every rank on `job`."""
    each, port = str(launch.ranks // launch.nodes), str(_free_port())
    if launch.how == "deepspeed":
        hosts = ["--hostfile", str(launch.hostfile)] if launch.hostfile else []
        return [sys.executable, "-m", "deepspeed.launcher.runner", *hosts,
                "--num_nodes", str(launch.nodes), "--num_gpus", each, "--master_port", port,
                "--module", _WORKER, str(job)]  # fmt: skip
    if launch.how == "slurm":
        return ["srun", "--nodes", str(launch.nodes), "--ntasks", str(launch.ranks),
                "--ntasks-per-node", each, "--kill-on-bad-exit=1", "--unbuffered",
                sys.executable, "-m", _WORKER, str(job)]  # fmt: skip
    return [sys.executable, "-m", "torch.distributed.run", "--standalone",
            "--nproc-per-node", each, "--module", _WORKER, str(job)]  # fmt: skip


def status(folder: Path, number: int) -> Path:
    """Return the file in which a rank says how it is."""
    return folder / f"rank-{number:05d}.json"


def _order(job: Job, stage: TrainStage, source: Path) -> dict[str, Any]:
    """Return what a worker needs to know, as JSON."""
    return {
        "recipe": job.recipe.model_dump_json(),
        "beside": str(job.beside.absolute()),
        "folder": str(job.folder.absolute()),
        "before": {name: str(path.absolute()) for name, path in job.before.items()},
        "stage": stage.name,
        "source": str(source.absolute()),
        "parent": [socket.gethostname(), os.getpid()],
    }


def _environment(launch: Launch, folder: Path) -> dict[str, str]:
    """Return the environment of the ranks: cores are shared out, Slurm's first node is met at."""
    each = launch.ranks // launch.nodes
    found = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // each)), **os.environ}
    if launch.nodes > 1 and launch.how == "deepspeed" and "DS_ENV_FILE" not in found:
        found["DS_ENV_FILE"] = str(travelling(found, folder).absolute())
    if launch.how == "slurm":
        names = subprocess.run(
            ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        found["MASTER_ADDR"] = names[0]
        found["MASTER_PORT"] = str(20_000 + int(os.environ["SLURM_JOB_ID"]) % 20_000)
    return found


_TRAVELS = ("OMP_", "GOMP_", "HF_", "GLOO_", "DS_", "AURORA_", "TRANSFORMERS_")
_SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD")


def travelling(environment: dict[str, str], folder: Path) -> Path:
    """Write what DeepSpeed is to set on every machine; by itself it takes hardly anything along.

    Threads decide the bits of a step, so they are the same everywhere. Secrets stay here: what
    travels is on command lines. The user's own file counts too, and last.
    """
    lines = [
        f"{name}={shlex.quote(value)}\n"
        for name, value in sorted(environment.items())
        if name.startswith(_TRAVELS) and not any(word in name for word in _SECRET)
    ]  # fmt: skip
    own = (Path.home() / ".deepspeed_env", Path(".deepspeed_env"))
    lines += [path.read_text(encoding="utf-8") for path in own if path.is_file()]
    path = folder / "environment"
    atomic.write_text(path, "".join(lines))
    path.chmod(0o600)  # the user's own file may hold what is nobody else's
    return path


def _watch(process: "subprocess.Popen[bytes]", folder: Path, ranks: int, mine: Path) -> list[int]:
    """Pass on rank 0's lines until all ranks ended, or one failed and the rest had time.

    `mine` is touched every so often: ranks on other machines end when it stays still.

    Returns the ranks that had died without a word when the first failure was seen.
    """
    failed_at, gone = None, list[int]()
    beat, look = pulse.Every(pulse.BEAT), pulse.Every(between_looks(ranks))
    progress = folder / PROGRESS
    progress.touch()
    with progress.open(encoding="utf-8") as lines:
        while process.poll() is None:
            _forward(lines)
            if beat.due():
                pulse.beat(mine)
            if failed_at is None and look.due():
                found = _all(folder, ranks)
                gone = _gone(folder, found, mine)
                if gone or any(entry.get("state") == "failed" for entry in found):
                    failed_at = time.monotonic()
            elif failed_at is not None and time.monotonic() - failed_at > _GRACE:
                break
            time.sleep(_MOMENT)
        _forward(lines)
    return gone or _gone(folder, _all(folder, ranks), mine)


def between_looks(ranks: int) -> float:
    """Return the seconds between two looks at what every rank says."""
    return min(pulse.BEAT, max(_MOMENT, ranks / _FILES_A_SECOND))


def _gone(folder: Path, found: list[dict[str, Any]], mine: Path) -> list[int]:
    """Return the ranks that run no more, or are not heard of any more, and did not say so."""
    return [
        number for number, entry in enumerate(found)
        if entry.get("state") == "running"
        and (
            pulse.silent(status(folder, number), mine) if _elsewhere(entry) else not _alive(entry)
        )
    ]  # fmt: skip


def _forward(lines: TextIO) -> None:
    sys.stderr.write(lines.read())
    sys.stderr.flush()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Make sure that the launcher and every rank it started here are gone."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _outcome(job: Job, stage: TrainStage, ranks: int, gone: list[int]) -> dict[str, Any]:
    """Return what rank 0 measured; rank 0's word counts, not the exit code of its teardown."""
    folder = job.folder / FOLDER
    found = _all(folder, ranks)
    if found[0].get("state") == "done":
        return dict(found[0]["measured"])
    if found[0].get("state") == "stopped":
        raise Interrupted(found[0]["message"])
    number, message = first_failure(found, gone)
    lines = "" if found[number].get("mendable") else _last_lines(folder, number)
    saved = sorted((job.folder / "checkpoints").glob("step-?????????"))
    kept = f"goes on from {saved[-1].name}" if saved else "begins again: no checkpoint yet"
    raise AuroraError(
        f"{stage.name}: rank {number} of {ranks} failed and the others were stopped. {message}\n"
        f"{lines}The same command {kept}. Logs: {folder}"
    )


def first_failure(found: list[dict[str, Any]], gone: list[int]) -> tuple[int, str]:
    """Return the rank that failed first and its message; a killed one could not say a word."""
    failed = sorted(
        (number for number, entry in enumerate(found) if entry.get("state") == "failed"),
        key=lambda number: (not found[number]["own"], found[number]["at"]),
    )
    lost = gone or [n for n, entry in enumerate(found) if failed and _elsewhere(entry)]
    if lost and not (failed and found[failed[0]]["own"]):
        return lost[0], _without_a_word(found[lost[0]])
    if failed:
        return failed[0], str(found[failed[0]]["message"])
    return 0, "It did not start, or did not end in time."


def _elsewhere(entry: dict[str, Any]) -> bool:
    """Return whether a rank on another machine has not said how it ended."""
    return entry.get("state") == "running" and entry["host"] != socket.gethostname()


def _without_a_word(entry: dict[str, Any]) -> str:
    if _elsewhere(entry):
        return (
            f"It ran on {entry['host']} and is not heard of any more: ended, out of memory, or "
            "the machine is gone. Without that machine, take it out of the hostfile and give fewer "
            "--nodes, and as many --ranks as they hold."
        )
    return "It ended without a word: killed from outside, or out of memory."


def _all(folder: Path, ranks: int) -> list[dict[str, Any]]:
    """Return what every rank said last; {} where it has not said anything."""
    paths = [status(folder, number) for number in range(ranks)]
    return [json.loads(path.read_bytes()) if path.exists() else {} for path in paths]


def _last_lines(folder: Path, number: int, count: int = 8) -> str:
    """Return the end of a rank's log, or of the launcher's where the rank has none."""
    for name in (f"rank-{number:05d}.log", "launcher.log"):
        path = folder / name
        text = path.read_text(encoding="utf-8", errors="replace").rstrip() if path.exists() else ""
        if text:
            return "".join(f"  {line}\n" for line in text.splitlines()[-count:])
    return ""


def _await_gone(folder: Path, patience: float = 30.0) -> None:
    """Wait until the ranks of a run that was killed have noticed it."""
    until = time.monotonic() + patience
    for path in sorted(folder.glob("rank-*.json")):
        entry = json.loads(path.read_bytes())
        while _alive(entry) and entry["host"] == socket.gethostname():
            if time.monotonic() > until:
                raise AuroraError(
                    f"Process {entry['pid']} of an earlier run still trains into {folder.parent}. "
                    "Wait for it, or end it."
                )
            time.sleep(0.1)


def _alive(entry: dict[str, Any]) -> bool:
    """Return whether a rank's process may be there: on another machine nobody can tell."""
    return entry["host"] != socket.gethostname() or Path(f"/proc/{entry['pid']}").exists()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
