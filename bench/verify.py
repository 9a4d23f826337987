"""How fast is `aurora verify` on a release of 5 GB, beside sha256sum on the same files?"""

import hashlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aurora_release.card.verify import verify
from aurora_release.recipe import Recipe
from aurora_release.run import Job, run
from tests.card.conftest import MODEL, RECIPE, stages

SHARDS, BYTES, ROUNDS = 4, 1_250_000_000, 3
_CHUNK = 2**20


def measure() -> dict[str, Any]:
    """Return bytes a second of each, in turn, and the median ratio to sha256sum of the rounds.

    `raw` is sha256 over memory on every core, without a file: the speed that nothing can pass.
    """
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", ".")) as name:
        release = _release(Path(name))
        files = [path for path in release.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        ways: dict[str, Callable[[], object]] = {
            "verify": lambda: _verified(release),
            "sha256sum": lambda: _sums(files),
            "sha256sum_on_every_core": lambda: _sums(files, os.cpu_count() or 1),
            "raw": lambda: _raw(size),
        }
        rounds = [{way: _seconds(work) for way, work in ways.items()} for _ in range(ROUNDS)]
    return {
        "bytes": size,
        "files": len(files),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "seconds": {way: [turn[way][0] for turn in rounds] for way in ways},
        "cpu_seconds": {way: [turn[way][1] for turn in rounds] for way in ways},
        "speed_beside": {
            way: statistics.median(turn[way][0] / turn["verify"][0] for turn in rounds)
            for way in ways
            if way != "verify"
        },
    }


def _release(folder: Path) -> Path:
    """Return a release of tiny stages whose trained model has large weights."""
    recipe = Recipe.model_validate_json(json.dumps(RECIPE))
    run(recipe, folder, stages(recipe, _write), folder / "run")
    return folder / "run/release"


def _write(job: Job) -> None:
    for name, content in MODEL.items():
        (job.folder / name).write_text(content, encoding="utf-8")
    (job.folder / "model.safetensors").unlink()
    for shard in range(1, SHARDS + 1):
        path = job.folder / f"model-{shard:05}-of-{SHARDS:05}.safetensors"
        with path.open("wb") as file:
            for start in range(0, BYTES, _CHUNK):
                file.write(os.urandom(min(_CHUNK, BYTES - start)))


def _verified(release: Path) -> None:
    assert verify(release).passed


def _sums(files: list[Path], at_once: int = 1) -> None:
    command = ["xargs", "-0", "-n", "1", "-P", str(at_once), "sha256sum"]
    names = b"\0".join(str(path).encode() for path in files)
    subprocess.run(command, input=names, check=True, capture_output=True)


def _raw(size: int) -> None:
    cores = os.cpu_count() or 1
    chunk = os.urandom(_CHUNK)

    def work(part: int) -> None:
        digest = hashlib.sha256()
        for _ in range(part // _CHUNK):
            digest.update(chunk)

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(work, [size // cores] * cores))


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall time and the CPU time of some work, of its processes too."""
    before, began = os.times(), time.perf_counter()
    work()
    after, wall = os.times(), time.perf_counter() - began
    return wall, sum(after[:4]) - sum(before[:4])
