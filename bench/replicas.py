"""What do clients see while one of two vLLM servers behind us is killed and started again?

Streams of greedy completions, two at a time, through `aurora serve` with two upstreams. One server
is killed (SIGKILL, all its processes) before the first token of an answer, the other one after it.
`python -m bench.replicas` prints the table of what was kept.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from aurora_release import chain
from bench.vllm import Server, aurora, vllm

RUNS = Path("runs")
SECONDS, TOKENS, CLIENTS = 15.0, 24, 2
PROMPTS = (
    "The capital of Finland is",
    "Water boils at",
    "The quick brown fox",
    "In the morning, the birds",
)


def measure() -> dict[str, Any]:
    """Return what became of the requests of each phase."""
    base = chain.run("demo", runs=RUNS, until="base") / "base"
    load = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        servers = [vllm(base, scratch / f"{number}.log") for number in (1, 2)]
        ours: Server | None = None
        try:
            for server in servers:
                server.wait()
            upstreams = [part for each in servers for part in ("--upstream", each.url)]
            ours = aurora(["aurora_release", "serve", str(base), *upstreams], scratch / "ours.log")
            ours.wait()
            phases = _phases(ours.url, *servers)
        finally:
            for server in (*servers, *([ours] if ours else [])):
                if server.process.poll() is None:
                    server.signal(signal.SIGKILL)
    return {
        "what": " ".join(str(__doc__).split("\n\n")[0].split()),
        "phases": phases,
        "load_before": load,
    }


def _phases(url: str, one: Server, other: Server) -> list[dict[str, Any]]:
    return [
        _loaded("both answer", url, lambda: time.sleep(SECONDS)),
        _killed_before(url, one),
        _loaded("the first is gone, starts again and is asked again", url, _restart(one)),
        _killed_after(url, other),
        _loaded("the second is gone, starts again and is asked again", url, _restart(other)),
        _loaded("both answer again", url, lambda: time.sleep(SECONDS)),
    ]


def _loaded(name: str, url: str, during: Callable[[], None]) -> dict[str, Any]:
    """Ask again and again, `CLIENTS` at a time, as long as something takes."""
    over = threading.Event()

    def client(number: int) -> list[str]:
        found = []
        while not over.is_set():
            found.append(_ask(url, PROMPTS[(number + len(found)) % len(PROMPTS)]))
        return found

    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(client, number) for number in range(CLIENTS)]
        try:
            during()
        finally:
            over.set()
        outcomes = Counter(outcome for one in running for outcome in one.result())
    return {"phase": name, "seconds": time.monotonic() - began, "outcomes": dict(outcomes)}


def _restart(server: Server) -> Callable[[], None]:
    def during() -> None:
        server.start()
        server.wait()
        before = _answered(server)
        while _answered(server) == before:
            time.sleep(0.5)

    return during


def _answered(server: Server) -> float:
    """Return how many answers a vLLM server has begun."""
    page = httpx.get(f"{server.url}/metrics", timeout=180).text
    lines = [line for line in page.splitlines() if line.startswith("vllm:prompt_tokens_total")]
    return sum(float(line.split()[-1]) for line in lines)


def _killed_before(url: str, server: Server) -> dict[str, Any]:
    """Stop a server so that it says nothing, send two requests (one is its own), kill it."""
    server.signal(signal.SIGSTOP)

    def kill() -> None:
        time.sleep(1)
        server.signal(signal.SIGKILL)
        server.process.wait()

    return _two("killed before the first token", url, kill, TOKENS)


def _killed_after(url: str, server: Server) -> dict[str, Any]:
    """Kill a server while two answers are streamed; one is its own."""

    def kill() -> None:
        began.wait()
        server.signal(signal.SIGKILL)
        server.process.wait()

    began = threading.Barrier(3)
    return _two("killed after the first token", url, kill, 200, began)


def _two(
    name: str,
    url: str,
    during: Callable[[], None],
    tokens: int,
    began: threading.Barrier | None = None,
) -> dict[str, Any]:
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(_ask, url, prompt, tokens, began) for prompt in PROMPTS[:2]]
        during()
        outcomes = Counter(one.result() for one in running)
    return {"phase": name, "seconds": time.monotonic() - start, "outcomes": dict(outcomes)}


def _ask(
    url: str, prompt: str, tokens: int = TOKENS, began: threading.Barrier | None = None
) -> str:
    """Return what a client saw of one streamed answer."""
    body = {
        "prompt": prompt,
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    reasons, made, error = [], 0, None
    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=180) as reply:
        if reply.status_code != 200:
            reply.read()
            return f"HTTP {reply.status_code}"
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            error = chunk.get("error", error)
            made = (chunk.get("usage") or {}).get("completion_tokens", made)
            for choice in chunk.get("choices", ()):
                if began is not None and choice["text"]:
                    began.wait()
                    began = None
                reasons += [choice["finish_reason"]] if choice["finish_reason"] else []
    if error is not None:
        return f"error event: {error['message']}"
    whole = len(reasons) == 1 and (made == tokens or reasons != ["length"])
    return "whole" if whole else f"broken: {reasons}, {made} tokens"


def table(answer: dict[str, Any]) -> str:
    """Return the phases as a Markdown table."""
    lines = ["| phase | seconds | answers | what clients saw |", "|---|---|---|---|"]
    for phase in answer["phases"]:
        seen = "; ".join(f"{count} {what}" for what, count in sorted(phase["outcomes"].items()))
        total = sum(phase["outcomes"].values())
        lines.append(f"| {phase['phase']} | {phase['seconds']:.0f} | {total} | {seen} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    kept = Path(__file__).parent / "results" / "amd-epyc" / "replicas.json"
    sys.stdout.write(table(json.loads(kept.read_bytes())))
