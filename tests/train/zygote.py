"""Trains a list of scenarios, each in ranks forked from here: one import for all of them.

`python zygote.py SCENARIOS.json`; a scenario says what to train, on how many ranks, into which
folder, and after which checkpoint all of its ranks are killed with SIGKILL (null: never).
"""

import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any

PATIENCE = 120


def main(path: Path) -> None:
    from aurora_release import log, recipe
    from aurora_release.plan import plan
    from aurora_release.run import run

    log.configure()
    for name in (
        "deepspeed", "transformers.models.llama.modeling_llama",
        "transformers.models.gpt_bigcode.modeling_gpt_bigcode",
        "aurora_release.train.model", "aurora_release.train.loop",
    ):  # fmt: skip
        importlib.import_module(name)

    for scenario in json.loads(path.read_bytes()):
        found, beside = recipe.load(scenario["recipe"], tuple(scenario["overrides"]))
        runs = Path(scenario["inputs"])
        stages = [stage for stage in plan(found, beside) if stage.name in ("base", "clean", "data")]
        run(found, beside, stages, runs)
        _train(scenario, found, beside)


def _train(scenario: dict[str, Any], recipe: Any, beside: Path) -> None:
    """Fork the ranks of a scenario and wait for them, or kill them where it says so."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(scenario["folder"])
    folder.mkdir(exist_ok=True)
    group, left = 0, []
    for rank in range(scenario["ranks"]):
        child = os.fork()
        if not child:
            os.setpgid(0, group)
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(scenario["ranks"]),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }  # fmt: skip
            _rank(scenario, recipe, beside, folder)
        group = group or child
        left.append(child)
    if scenario["kill_after"] is not None:
        _await(folder / "checkpoints" / f"step-{scenario['kill_after']:09d}", left)
        os.killpg(group, signal.SIGKILL)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in left]
    wanted = 0 if scenario["kill_after"] is None else -signal.SIGKILL
    assert codes == [wanted] * len(codes), (scenario, codes)


def _await(path: Path, children: list[int]) -> None:
    until = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < until, f"{path} was not written"
        assert all(Path(f"/proc/{child}").exists() for child in children)
        time.sleep(0.005)


def _rank(scenario: dict[str, Any], recipe: Any, beside: Path, folder: Path) -> None:
    """Train as one rank; keep the last checkpoint, whose moments a test compares."""
    try:
        from aurora_release.run import Job
        from aurora_release.train.export import export
        from aurora_release.train.stage import begin

        runs = Path(scenario["inputs"])
        before = {name: runs / name for name in ("base", "clean", "data")}
        loop = begin(Job(recipe, beside, folder, before), recipe.train.stages[0], runs / "base")
        loop.run()
        loop.checkpoints.save(loop.engine, loop.steps, {"layouts": loop.checkpoints.history})
        loop.checkpoints.settle()
        export(loop.engine, runs / "base", folder)
        sys.stderr.flush()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
