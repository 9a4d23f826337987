"""How fast are release files hashed, beside sha256sum on the same files in the same run?"""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aurora_release import evidence

FILES, BYTES, ROUNDS = 8, 64 * 2**20, 5


def measure() -> dict[str, Any]:
    """Return median seconds of both and their ratio, interleaved, after one warm-up round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(FILES):
            (folder / f"{number}.bin").write_bytes(os.urandom(BYTES))
        ours: list[float] = []
        peer: list[float] = []
        for turn in range(ROUNDS + 1):
            times = _seconds(lambda: evidence.digests(folder)), _seconds(lambda: _sums(folder))
            if turn:
                ours.append(times[0])
                peer.append(times[1])
    return {
        "bytes": FILES * BYTES,
        "ours_seconds": statistics.median(ours),
        "sha256sum_seconds": statistics.median(peer),
        "ratio": statistics.median(o / p for o, p in zip(ours, peer, strict=True)),
        "rounds": ROUNDS,
    }


def _sums(folder: Path) -> None:
    files = sorted(str(path) for path in folder.iterdir())
    subprocess.run(["sha256sum", *files], check=True, capture_output=True)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
