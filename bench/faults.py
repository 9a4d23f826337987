"""What do clients see when things go wrong?

`aurora serve` as it is installed, filter on, over a model of random weights; real clients over
HTTP. Every request is counted, whatever became of it; afterwards nothing may be running or waiting.
Behind a second server two others generate, which die one after the other; behind a third one
llama.cpp does, in a process of its own. That requests end when the engine crashes, stalls or hangs
inside the process is tested in tests/serve/test_supervisor.py: from outside this cannot be brought
about.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from aurora_release import atomic
from bench import tiny

TABLE = Path(__file__).parent.parent / "docs" / "results" / "serving" / "faults.md"
BODY = {"model": "x", "prompt": "The dog", "max_tokens": 60, "temperature": 1, "stream": True}


def measure() -> dict[str, Any]:
    """Return what clients saw of each fault, and write the table of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = tiny.model(Path(name) / "tiny")
        command = ["-m", "aurora_release", "serve", str(folder), "--slots", "4", "--queue", "8",
                   "--drain-seconds", "3", "--port"]  # fmt: skip
        with tiny.served(command, Path(name) / "log") as (url, process):
            found = {"a full queue: 48 clients at once, 12 places": _many(url, 48, 0)}
            found["half of the clients leave: 12 at a time"] = _many(url, 12, 0.5, rounds=3)
            found["SIGTERM under load: 12 clients, 3 seconds to drain"] = _terminated(url, process)
        found |= _upstreams(folder, Path(name)) | _engine(folder, Path(name))
    _write(found)
    return {"faults": found}


def _many(url: str, clients: int, leaving: float, rounds: int = 1) -> dict[str, Any]:
    """Send from so many clients at the same time, of whom a share leaves in the middle."""
    saw: Counter[str] = Counter()
    for number in range(rounds):
        chance = random.Random(number)
        plans = [chance.random() < leaving for _ in range(clients)]
        threads = [threading.Thread(target=_ask, args=(url, saw, leaves)) for leaves in plans]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return {"clients": clients * rounds, "saw": dict(saw), "under way after": _rest(url)}


def _upstreams(folder: Path, scratch: Path) -> dict[str, Any]:
    """Return what was seen of a server over two others: one dies, then the one that is left."""
    serve = ["-m", "aurora_release", "serve", str(folder)]
    with contextlib.ExitStack() as stack:
        behind = [
            stack.enter_context(tiny.served([*serve, "--port"], scratch / f"behind-{number}"))
            for number in (1, 2)
        ]
        named = [part for url, _ in behind for part in ("--upstream", url)]
        front = tiny.served([*serve, *named, "--port"], scratch / "front")
        url, _ = stack.enter_context(front)
        (_, first), (_, second) = behind
        os.kill(first, signal.SIGSTOP)
        return {
            "one of two upstreams says nothing, then dies": _struck(url, first, before=True),
            "the last upstream dies in the middle of answers": _struck(url, second),
            "no upstream is left": _many(url, 8, 0),
        }


def _engine(folder: Path, scratch: Path) -> dict[str, Any]:
    """Return what was seen when llama.cpp, which generates in its own process, was killed."""
    make = ["quantize", str(folder), "--method", "gguf", "--type", "F16"]
    gguf = scratch / "gguf"
    subprocess.run([sys.executable, "-m", "aurora_release", *make, "--out", gguf], check=True)
    command = ["-m", "aurora_release", "serve", str(gguf), "--port"]
    with tiny.served(command, scratch / "llama") as (url, process):
        keeper = _children(process)[0]
        found = {
            "the engine's process is killed in the middle of answers": _struck(
                url, _children(keeper)[0]
            ),
            "… and asked at once": _many(url, 8, 0),
        }
        deadline = time.monotonic() + 300
        while httpx.get(f"{url}/health/ready").status_code != 200:
            assert time.monotonic() < deadline, "the engine did not come back"
            time.sleep(0.1)
        return found | {"… and once it is ready again": _many(url, 8, 0)}


def _children(process: int) -> list[int]:
    lists = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text("ascii").split()]


def _struck(url: str, process: int, before: bool = False) -> dict[str, Any]:
    """Kill a process under eight streams: before the first token of one, or after it of all."""
    saw: Counter[str] = Counter()
    began = threading.Semaphore(0)
    asked = (url, saw, False, {**BODY, "max_tokens": 1500}, began)
    threads = [threading.Thread(target=_ask, args=asked) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(1 if before else 8):
        assert began.acquire(timeout=300), "an answer never began"
    os.kill(process, signal.SIGKILL)
    for thread in threads:
        thread.join()
    return {"clients": 8, "saw": dict(saw), "under way after": _rest(url)}


def _terminated(url: str, process: int) -> dict[str, Any]:
    saw: Counter[str] = Counter()
    body = {**BODY, "max_tokens": 1500}
    threads = [threading.Thread(target=_ask, args=(url, saw, False, body)) for _ in range(12)]
    for thread in threads:
        thread.start()
    while _under_way(url) < 12:
        time.sleep(0.05)
    os.kill(process, signal.SIGTERM)
    for thread in threads:
        thread.join()
    return {"clients": 12, "saw": dict(saw), "under way after": None}


def _ask(
    url: str,
    saw: Counter[str],
    leaves: bool,
    body: dict[str, Any] = BODY,
    began: threading.Semaphore | None = None,
) -> None:
    """Send one request and count how it ended; tell of its first token."""
    try:
        with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=300) as reply:
            if reply.status_code != 200:
                after = "with" if "retry-after" in reply.headers else "WITHOUT"
                saw[f"{reply.status_code} {after} Retry-After"] += 1
                return
            lines = []
            for line in reply.iter_lines():
                if not lines and began:
                    began.release()
                lines.append(line)
                if leaves and len(lines) > 1:
                    saw["left by itself"] += 1
                    return
    except httpx.HTTPError as error:
        saw[f"connection lost ({type(error).__name__})"] += 1
        return
    saw[_ending(lines)] += 1


def _ending(lines: list[str]) -> str:
    if any('"error"' in line for line in lines[-3:]):
        return "stream ended with an error event"
    ends = sum('"finish_reason":"' in line for line in lines)
    whole = "data: [DONE]" in lines and ends == 1
    return "whole answer, once" if whole else "A TORN OR DOUBLED ANSWER"


def _under_way(url: str) -> int:
    page = httpx.get(f"{url}/metrics", timeout=60).text.splitlines()
    names = ("aurora_num_requests_running ", "aurora_num_requests_waiting ")
    return sum(int(float(line.split()[1])) for line in page if line.startswith(names))


def _rest(url: str) -> int:
    """Return what is under way once the engine had ten seconds to let go."""
    for _ in range(100):
        if not (left := _under_way(url)):
            return 0
        time.sleep(0.1)
    return left


def _write(found: dict[str, dict[str, Any]]) -> None:
    rows = []
    for fault, one in found.items():
        saw = "; ".join(f"{count} {what}" for what, count in sorted(one["saw"].items()))
        left = one["under way after"]
        left = "the process ended" if left is None else left
        rows.append(f"| {fault} | {one['clients']} | {saw} | {left} |")
    head = [
        "# What clients saw",
        "",
        "Written by `python -m bench.faults`: `aurora serve`, filter on, random weights.",
        "",
        "| fault | clients | what they saw | under way afterwards |",
        "|---|---|---|---|",
    ]
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(TABLE, "\n".join([*head, *rows]) + "\n")


if __name__ == "__main__":
    sys.stdout.write(f"{measure()}\n")
