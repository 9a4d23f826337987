"""How long to find a step's documents deep in a mixture of 10^12 tokens, and in what memory?

What is simulated: 50 sources of unequal size and weight, 10^12 tokens in 10^8 documents of 10,000
tokens, read 4 times over. Real on disk: where documents and their ids begin, and the ids (2.8 GB).
Sparse files that read as zeros: 1,863 token shards (2 TB), prompts, licences.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aurora_release.data import store as layout
from aurora_release.data.which import which
from aurora_release.evidence import canonical
from aurora_release.recipe import Recipe

SOURCES, DOCUMENTS, SIZE, STEP = 50, 10**8, 10_000, 1_000_000
LENGTH = BATCH = 2048
ROUNDS = 5
_CHUNK, _DIGITS, _SHARD = 10**6, 11, 2**29


def measure() -> dict[str, Any]:
    """Return seconds and peak memory of fresh processes: index in the page cache, and not."""
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        run = Path(name) / "seek"
        began = time.perf_counter()
        build(run / "data", SOURCES, DOCUMENTS, SIZE)
        built = time.perf_counter() - began
        cold = [_fresh(run, drop=True) for _ in range(ROUNDS)]
        warm = [_fresh(run, drop=False) for _ in range(ROUNDS)]
    return {
        "simulated": " ".join(str(__doc__).split("\n\n")[1].split()),
        "tokens": DOCUMENTS * SIZE,
        "documents": DOCUMENTS,
        "sources": SOURCES,
        "step": STEP,
        "global_batch": [BATCH, LENGTH],
        "build_seconds": built,
        "cold": {key: statistics.median(row[key] for row in cold) for key in cold[0]},
        "warm": {key: statistics.median(row[key] for row in warm) for key in warm[0]},
        "fastest": {
            "cold": min(row["seconds"] for row in cold),
            "warm": min(row["seconds"] for row in warm),
        },
        "rounds": ROUNDS,
        "load_before": load,
    }


def build(folder: Path, sources: int, documents: int, size: int) -> None:
    """Write an index of `documents` documents of `size` tokens, and sparse shards below it."""
    folder.mkdir(parents=True)
    _write(folder / layout.STARTS, np.dtype("<i8"), documents + 1, size)
    marks = -(-documents // layout.BLOCK)
    _write(folder / layout.MARKS, np.dtype("<i8"), marks, size * layout.BLOCK)
    _write(folder / layout.ID_STARTS, np.dtype("<i8"), documents + 1, _DIGITS + 1)
    _write(folder / layout.PROMPTS, np.dtype("<i4"), documents, None)
    _write(folder / layout.LICENSES, np.dtype("<u2"), documents, None)
    _write(folder / layout.WINDOWS, np.dtype("<i8"), 0, None)
    with (folder / layout.IDS).open("wb") as file:
        for numbers in _chunks(documents):
            digits = numbers[:, None] // 10 ** np.arange(_DIGITS - 1, -1, -1) % 10 + ord("0")
            file.write(np.insert(digits.astype("u1"), 0, ord("d"), axis=1).tobytes())
    tokens = documents * size
    names = [layout.shard(number) for number in range(-(-tokens // _SHARD))]
    for number, name in enumerate(names):
        with (folder / name).open("wb") as file:
            file.truncate(2 * min(_SHARD, tokens - number * _SHARD))
    manifest = {
        "sequence_length": LENGTH,
        "end_of_text": 0,
        "dtype": "<u2",
        "tokens": tokens,
        "documents": documents,
        "licenses": ["MIT"],
        "shard_tokens": _SHARD,
        "shards": dict.fromkeys(names, ""),
        "sources": [asdict(part) for part in _parts(sources, documents, size)],
    }
    (folder / layout.MANIFEST).write_bytes(canonical(manifest))


def recipe(sources: int) -> Recipe:
    """Return a recipe with one stage over all sources, of random weights."""
    chance = random.Random(2)
    names = [f"source-{number:02}" for number in range(sources)]
    stage = {
        "name": "cap",
        "tokens": 2**20 * BATCH * LENGTH,
        "learning_rate": 1e-4,
        "mixture": {name: round(chance.uniform(0.01, 3), 4) for name in names},
        "replay": names[:10],
    }
    listed = [{"name": name, "path": "x", "language": "en", "license": "MIT"} for name in names]
    return Recipe.model_validate_json(
        json.dumps({
            "name": "seek",
            "title": "Seek",
            "seed": 1,
            "model": {"base": "x", "license": "MIT"},
            "data": {"sources": listed, "sequence_length": LENGTH},
            "train": {"global_batch": BATCH, "micro_batch": 8, "stages": [stage]},
        })
    )  # fmt: skip


def _parts(sources: int, documents: int, size: int) -> list[layout.Part]:
    chance = random.Random(1)
    cuts = [0, *sorted(chance.sample(range(1, documents), sources - 1)), documents]
    parts = []
    for number, (first, last) in enumerate(zip(cuts, cuts[1:], strict=False)):
        tokens = (last - first) * size
        parts.append(
            layout.Part(
                f"source-{number:02}", "en", "MIT", "text", first, first * size, 0,
                documents=last - first, tokens=tokens, windows=-(-tokens // LENGTH),
                licenses={"MIT": tokens},
            )
        )  # fmt: skip
    return parts


def _chunks(count: int) -> Iterator[np.ndarray[Any, Any]]:
    for first in range(0, count, _CHUNK):
        yield np.arange(first, min(first + _CHUNK, count))


def _write(path: Path, kind: np.dtype[Any], count: int, step: int | None) -> None:
    """Write an arithmetic sequence, or a sparse file of zeros."""
    with path.open("wb") as file:
        head = {"descr": kind.str, "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(file, head)
        if step is None:
            file.truncate(file.tell() + count * kind.itemsize)
            return
        for numbers in _chunks(count):
            file.write((numbers * step).astype(kind).tobytes())


def _fresh(run: Path, drop: bool) -> dict[str, float]:
    """Seek in a process of its own; `drop` takes the index out of the page cache first."""
    if drop:
        os.sync()
        for path in (run / "data").glob("*"):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    command = [sys.executable, "-m", "bench.seek", str(run)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def _seek(run: Path) -> dict[str, float]:
    """Find the documents of the step; then read the tokens of its first 256 samples."""
    from itertools import islice

    from aurora_release.data.mixture import Order

    asked = recipe(SOURCES)
    began, used = time.perf_counter(), time.process_time()
    answer = which(asked, run, STEP)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    memory = _peak()
    began = time.perf_counter()
    reader = layout.Store(run / "data")
    order = Order(asked, asked.train.stages[0], reader.windows)
    for place in islice(order.places((STEP - 1) * BATCH), 256):
        reader.sample(place.source, place.window)
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_bytes": memory,
        "documents_in_step": len(answer["documents"]),
        "read_256_samples_seconds": time.perf_counter() - began,
        "peak_bytes_after_reading": _peak(),
    }


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_seek(Path(sys.argv[1]))))
