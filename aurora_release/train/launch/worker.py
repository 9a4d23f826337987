"""One rank of a training stage: `python -m aurora_release.train.launch.worker JOB.json`."""

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from aurora_release import atomic
from aurora_release import log as logs
from aurora_release.errors import AuroraError, Interrupted
from aurora_release.train.launch import pulse
from aurora_release.train.launch.launcher import FOLDER, PROGRESS, status


def main(path: Path) -> None:
    """Train, and leave a file that says how it went; never returns."""
    order = json.loads(path.read_bytes())
    _take_slurm_ranks()
    number = int(os.environ["RANK"])
    folder = Path(order["folder"]) / FOLDER
    _speak_into(folder, number)
    # a first SIGTERM is a wish to stop after the step (the loop's); more of them change nothing
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _say(folder, number, state="running")
    host, parent = order["parent"]
    _follow(host, parent, Path(order["pulse"]), status(folder, number))
    try:
        measured = _train(order)
        _say(folder, number, state="done", measured=measured if number == 0 else None)
    except Interrupted as stopped:
        _say(folder, number, state="stopped", message=str(stopped))
    except Exception as error:
        traceback.print_exc()
        _say(
            folder, number, state="failed", own=not _of_others(error),
            mendable=isinstance(error, AuroraError), message=_sentence(error),
        )  # fmt: skip
        _leave(1)
    _leave(0)


def _train(order: dict[str, Any]) -> dict[str, Any]:
    """Train the stage that the parent ordered, and wait for the other ranks."""
    from aurora_release.recipe import Recipe
    from aurora_release.run import Job
    from aurora_release.train import engine
    from aurora_release.train.stage import train

    recipe = Recipe.model_validate_json(order["recipe"])
    before = {name: Path(folder) for name, folder in order["before"].items()}
    job = Job(recipe, Path(order["beside"]), Path(order["folder"]), before)
    (stage,) = (stage for stage in recipe.train.stages if stage.name == order["stage"])
    measured = train(job, stage, Path(order["source"]))
    engine.meet()
    return measured


def _leave(code: int) -> None:
    """End without the interpreter's teardown, in which ZeRO 3 sometimes aborts after all work."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _say(folder: Path, number: int, **what: Any) -> None:
    """Replace this rank's word on how it is."""
    entry = {"pid": os.getpid(), "host": socket.gethostname(), "at": time.time(), **what}
    atomic.write_text(status(folder, number), json.dumps(entry))


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, AuroraError) else f"{type(error).__name__}: {error}"


def _of_others(error: Exception) -> bool:
    """Return whether an error only tells that another rank went away."""
    text = str(error)
    marks = ("onnection closed by peer", "onnection reset", "Broken pipe", "gloo", "NCCL", "Socket")
    return isinstance(error, RuntimeError) and any(mark in text for mark in marks)


def _speak_into(folder: Path, number: int) -> None:
    """Send all output to this rank's log, and our own lines of rank 0 to the parent's terminal."""
    with (folder / f"rank-{number:05d}.log").open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    logs.configure()
    if number == 0:
        handler = logging.FileHandler(folder / PROGRESS, encoding="utf-8")
        handler.setFormatter(logging.getLogger("aurora_release").handlers[0].formatter)
        logging.getLogger("aurora_release").addHandler(handler)


def _follow(host: str, parent: int, theirs: Path, mine: Path) -> None:
    """Give signs of life, and end this process when its launcher, or who ordered it, is gone.

    Who ordered it is a process on its own machine, and signs of life in `theirs` elsewhere.
    """
    launcher, here = os.getppid(), host == socket.gethostname()
    beat = pulse.Every(pulse.BEAT)

    def watch() -> None:
        # a file that is gone was taken away by the launcher when all was over
        with suppress(FileNotFoundError):
            while os.getppid() == launcher and (not here or Path(f"/proc/{parent}").exists()):
                if beat.due():
                    if not here and pulse.silent(theirs, mine):
                        break
                    pulse.beat(mine)
                time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _take_slurm_ranks() -> None:
    """Translate Slurm's names of rank and world size where srun started this process."""
    if "RANK" not in os.environ and "SLURM_PROCID" in os.environ:
        os.environ |= {
            "RANK": os.environ["SLURM_PROCID"],
            "WORLD_SIZE": os.environ["SLURM_NTASKS"],
            "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        }


if __name__ == "__main__":
    # DeepSpeed's launcher adds --local_rank; the job is the one argument that is a file
    main(next(Path(word) for word in sys.argv[1:] if not word.startswith("--")))
