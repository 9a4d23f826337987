"""What do 1, 8, 32 and 128 clients at once see of each server, on the same model and questions?

Each server alone, one after the other, on one compute thread and in float32. Every client asks
again as soon as it has its answer, for so many `seconds`, and waits for the last one: streamed
greedy chat answers of at most 32 tokens; no two questions are the same. `aurora` is `aurora serve`
with the filter on, in the mode `flag`: it does all of the work, and no false alarm shortens an
answer. It gives text out by the sentence, so its first text and its gaps are those of sentences.
"""

import asyncio
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import httpx

from aurora_release import chain
from aurora_release.errors import AuroraError
from aurora_release.shipped import shipped
from bench.filter import POLICY, QUESTIONS
from bench.vllm import Server, aurora, vllm

RUNS = Path("runs")
STREAMS = (1, 8, 32, 128)
SECONDS, TOKENS = float(os.environ.get("AURORA_LOAD_SECONDS", "60")), 32


@dataclass
class Seen:
    """What one client saw of one answer."""

    outcome: str = ""
    tokens: int = 0
    began: float = field(default_factory=time.perf_counter)
    arrived: list[float] = field(default_factory=list)
    """When each piece of text came."""


def measure() -> dict[str, Any]:
    """Return tokens a second, milliseconds and outcomes of each server at each number of clients.

    Raises:
        AuroraError: `AURORA_VLLM` or `AURORA_LLAMA_SERVER` does not name the peer's program.
    """
    base = chain.run("demo", runs=RUNS, until="base") / "base"
    load, found = os.getloadavg(), {}
    with tempfile.TemporaryDirectory() as name:
        for peer, start in _peers(base, Path(name)).items():
            server = start()
            try:
                server.wait()
                asyncio.run(_together(server.url, _model(peer, base), 1, 5))  # warms up
                found[peer] = {
                    str(streams): _level(server, _model(peer, base), streams) for streams in STREAMS
                }
            finally:
                if server.process.poll() is None:
                    server.signal(signal.SIGKILL)
                    server.process.wait()
    return {
        "what": " ".join(str(__doc__).split("\n\n")[1].split()),
        "seconds": SECONDS,
        "tokens": TOKENS,
        "servers": found,
        "load_before": load,
    }


def _model(peer: str, base: Path) -> str:
    """Return how a server calls the model."""
    return str(base) if peer == "transformers" else "x"


def _peers(base: Path, scratch: Path) -> dict[str, Callable[[], Server]]:
    """Return how each server is started, over the same weights."""
    program = os.environ.get("AURORA_LLAMA_SERVER")
    if program is None:
        raise AuroraError("AURORA_LLAMA_SERVER: name the program llama-server.")
    from aurora_release.quantize.gguf import gguf

    (scratch / "gguf").mkdir()
    gguf(base, scratch / "gguf", type="F32")
    shutil.copytree(shipped(POLICY).parent, scratch / "policies")  # with the head of its classifier
    policy = scratch / "policies" / Path(POLICY).name
    text = policy.read_text(encoding="utf-8")
    policy.write_text(text.replace("mode: block", "mode: flag"), encoding="utf-8")
    most = str(max(STREAMS))
    ours = ["aurora_release", "serve", str(base), "--policy", str(policy), "--slots", "32",
            "--queue", most, "--max-tokens-under-way", "1000000"]  # fmt: skip
    transformers = [str(Path(sys.executable).parent / "transformers"), "serve", str(base),
                    "--continuous-batching", "--dtype", "float32", "--device", "cpu"]  # fmt: skip
    llama = [program, "-m", str(scratch / "gguf" / "model.gguf"), "--threads", "1",
             "--threads-batch", "1", "--threads-http", "4", "-np", "32", "-c", str(32 * 512),
             "--jinja", "--no-warmup"]  # fmt: skip
    return {
        "aurora": lambda: aurora(ours, scratch / "aurora.log"),
        "transformers": lambda: Server(transformers, scratch / "transformers.log"),
        "llama-server": lambda: Server(llama, scratch / "llama.log"),
        "vllm": lambda: vllm(base, scratch / "vllm.log"),
    }


def _level(server: Server, model: str, streams: int) -> dict[str, Any]:
    """Return what so many clients at once saw."""
    began, cpu = time.perf_counter(), server.cpu_seconds()
    seen = asyncio.run(_together(server.url, model, streams, SECONDS))
    seconds, used = time.perf_counter() - began, server.cpu_seconds() - cpu
    whole = [answer for answer in seen if answer.outcome == "whole"]
    tokens = sum(answer.tokens for answer in whole)
    gaps = [after - before for answer in whole for before, after in pairwise(answer.arrived)]
    sys.stderr.write(f"{server.url} {streams}: {tokens / seconds:.1f} tokens/s\n")
    return {
        "requests": len(seen),
        "outcomes": dict(Counter(answer.outcome for answer in seen)),
        "seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "tokens_per_cpu_second": tokens / used,
        "first_text_ms": _spread([answer.arrived[0] - answer.began for answer in whole]),
        "gap_ms": _spread(gaps),
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile in milliseconds; nothing of nothing."""
    if len(seconds) < 2:
        return {}
    return {"p50": 1000 * statistics.median(seconds),
            "p99": 1000 * statistics.quantiles(seconds, n=100, method="inclusive")[98]}  # fmt: skip


async def _together(url: str, model: str, streams: int, seconds: float) -> list[Seen]:
    numbers, over, seen = count(), time.perf_counter() + seconds, list[Seen]()
    # a connection for each request: servers differ in when they close one that was used before
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, timeout=900, limits=limits) as client:

        async def ask() -> None:
            while time.perf_counter() < over:
                number = next(numbers)
                question = f"{QUESTIONS[number % len(QUESTIONS)]} ({number})"
                try:
                    seen.append(await _answer(client, model, question))
                except httpx.HTTPError as error:
                    seen.append(Seen(type(error).__name__))

        await asyncio.gather(*(ask() for _ in range(streams)))
    return seen


async def _answer(client: httpx.AsyncClient, model: str, question: str) -> Seen:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    answer, ends = Seen(), 0
    async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        if reply.status_code != 200:
            answer.outcome = f"HTTP {reply.status_code}"
            return answer
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                answer.outcome = "error"
                return answer
            answer.tokens = (chunk.get("usage") or {}).get("completion_tokens", answer.tokens)
            for choice in chunk["choices"]:
                if choice["delta"].get("content"):
                    answer.arrived.append(time.perf_counter())
                ends += choice.get("finish_reason") is not None
    if ends != 1:
        answer.outcome = f"{ends} ends"
    elif not answer.tokens:
        answer.outcome = "refused"
    else:
        answer.outcome = "whole" if answer.arrived else "empty"
    return answer


def table(kept: dict[str, Any]) -> str:
    """Return the levels as a Markdown table."""
    lines = ["| clients | server | tokens/s | tokens/CPU s | first text, ms (p50, p99) "
             "| gap, ms (p50, p99) | answers |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for streams in map(str, STREAMS):
        for name, levels in kept["servers"].items():
            one = levels[streams]
            first, gap = ([f"{each:.0f}" for each in one[what].values()]
                          for what in ("first_text_ms", "gap_ms"))  # fmt: skip
            outcomes = ", ".join(f"{n} {what}" for what, n in one["outcomes"].items())
            lines.append(
                f"| {streams} | {name} | {one['tokens_per_second']:.1f} "
                f"| {one['tokens_per_cpu_second']:.1f} | {', '.join(first)} | {', '.join(gap)} "
                f"| {outcomes} |"
            )
    return "\n".join(lines) + "\n"
