"""Does a server grow with the requests it answers?

`aurora serve` as it is installed, filter and chat page on, over a model of random weights. Eight
clients send short requests: whole answers and streams on both protocols, invalid ones, and streams
whose client leaves after the first token. Every 500 requests the resident memory of the server is
read. The first thousand warm it up; a line is fitted through what follows.
"""

import json
import os
import sys
import tempfile
import threading
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from bench import tiny

REQUESTS = int(os.environ.get("AURORA_MEMORY_REQUESTS", "10000"))
CLIENTS, EACH, WARM = 8, 500, 1000


def measure() -> dict[str, Any]:
    """Return resident memory in MB as requests go by, and the slope after the warm-up."""
    with tempfile.TemporaryDirectory() as name:
        folder = tiny.model(Path(name) / "tiny")
        command = ["-m", "aurora_release", "serve", str(folder), "--port"]
        with tiny.served(command, Path(name) / "log") as (url, process):
            samples, statuses = _run(url, process)
            left = {
                line.split()[0]: float(line.split()[1])
                for line in httpx.get(f"{url}/metrics").text.splitlines()
                if line.startswith("aurora_num_requests")
            }
    warm = [(at, memory) for at, memory in samples if at >= WARM]
    return {
        "requests": REQUESTS,
        "statuses": statuses,
        "rss_mb": samples,
        "rss_mb_after_warm_up": warm[0][1],
        "rss_mb_at_the_end": warm[-1][1],
        "growth_bytes_a_request": round(_slope(warm) * 1e6),
        "left_under_way": left,
    }


def _run(url: str, process: int) -> tuple[list[tuple[int, float]], dict[str, int]]:
    samples: list[tuple[int, float]] = []
    statuses: dict[str, int] = {}
    numbers, lock = count(1), threading.Lock()

    def work() -> None:
        with httpx.Client(base_url=url, timeout=300) as client:
            while (number := next(numbers)) <= REQUESTS:
                status = _ask(client, number)
                with lock:
                    statuses[status] = statuses.get(status, 0) + 1
                    if number % EACH == 0:
                        samples.append((number, _rss(process)))
                        sys.stderr.write(f"{number}: {samples[-1][1]} MB\n")

    clients = [threading.Thread(target=work) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return sorted(samples), statuses


def _ask(client: httpx.Client, number: int) -> str:
    prompt = f"The fox and dog number {number}"
    openai = {"model": "x", "prompt": prompt, "max_tokens": 4, "temperature": 1}
    match number % 5:
        case 0:
            return str(client.post("/v1/completions", json=openai).status_code)
        case 1:
            body = {"inputs": prompt, "parameters": {"max_new_tokens": 4}}
            return str(client.post("/generate", json=body).status_code)
        case 2:
            return str(client.post("/v1/completions", json={**openai, "stream": True}).status_code)
        case 3:
            return str(client.post("/v1/completions", json={**openai, "n": "x"}).status_code)
    body = {**openai, "stream": True, "max_tokens": 200}
    with client.stream("POST", "/v1/completions", json=body) as reply:
        next(reply.iter_lines(), None)
    return "left"


def _rss(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return round(kilobytes / 1000, 1)


def _slope(points: list[tuple[int, float]]) -> float:
    """Return the slope of the least-squares line through points."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(), indent=1))
