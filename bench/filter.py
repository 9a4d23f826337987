"""What does the filter cost a served SmolLM2-135M: a window, the first text, and throughput?

Three servers of the real model, asked in turn over HTTP: `none` judges nothing, `prompts` judges
questions only, `filter` also judges answers, in the mode `flag`: it does all of the work, and no
false alarm shortens an answer. A window is what the filter holds back and judges at once: a segment
alone and behind its context. Greedy answers of the same length, streamed, 1 and 8 at a time.
"""

import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aurora_release import chain
from aurora_release.hardware import multiplies_bf16
from aurora_release.safety.classifier import encoder, pieces
from aurora_release.safety.disguise import readings
from aurora_release.safety.guard import Guard, Verdict
from aurora_release.safety.policy import Stream
from aurora_release.safety.stream import TEXT, StreamFilter
from aurora_release.serve.audit import AuditLog
from aurora_release.serve.settings import Settings
from aurora_release.shipped import shipped

RUNS = Path("runs")
VARIANTS = ("none", "prompts", "filter")
STREAMS = (1, 8)
ROUNDS, TOKENS, POLICY = 5, 96, "serve/policies/default.yaml"
QUESTIONS = (
    "How do I save a document as a PDF?",
    "What is the capital of Finland, and what can I see there?",
    "Write a short story about a fox and a dog.",
    "Explain how rain forms, step by step.",
    "What should I cook with rice, eggs and onions?",
    "Give me tips for learning Vietnamese.",
    "Why do cats purr? Explain it to a child.",
    "How does a bicycle stay upright?",
)


@dataclass(frozen=True)
class Answer:
    """One streamed answer as its client saw it."""

    text: str
    tokens: int
    first: float
    """Seconds to the first text."""


@dataclass(frozen=True)
class Wave:
    """What one wave of requests at the same time gave."""

    answers: list[Answer]
    seconds: float
    cpu: float
    """CPU seconds of the servers, on all cores."""

    @property
    def tokens(self) -> int:
        """Tokens of all answers."""
        return sum(answer.tokens for answer in self.answers)

    @property
    def speed(self) -> float:
        """Tokens a second, of all streams together."""
        return self.tokens / self.seconds

    @property
    def effort(self) -> float:
        """CPU milliseconds a token."""
        return 1000 * self.cpu / self.tokens

    @property
    def first(self) -> float:
        """Median milliseconds to the first text."""
        return 1000 * statistics.median(answer.first for answer in self.answers)


@dataclass(frozen=True)
class Load(Wave):
    """A wave, and what the filter did for it."""

    windows: list[float]
    """Milliseconds of each judged segment of an answer, waiting included."""


def measure() -> dict[str, Any]:
    """Return milliseconds and tokens a second: medians of rounds, and their ratios in each."""
    base = chain.run("demo", runs=RUNS, until="base") / "base"
    load = os.getloadavg()
    found: dict[tuple[str, int], list[Load]] = {}
    with tempfile.TemporaryDirectory() as name, _servers(base, Path(name)) as servers:
        for turn in range(ROUNDS + 1):
            for streams in STREAMS:
                for place in range(len(VARIANTS)):
                    variant = VARIANTS[(turn + place) % len(VARIANTS)]
                    done = _wave(*servers[variant], streams)
                    if turn:  # the first round warms up
                        found.setdefault((variant, streams), []).append(done)
    texts = [answer.text for wave in found["none", max(STREAMS)] for answer in wave.answers]
    return {
        "what": " ".join(str(__doc__).split("\n\n")[1].split()),
        "window_ms_idle": _idle(dict.fromkeys(texts)),
        "window_floor": _floor(dict.fromkeys(texts)),
        "streams": {str(streams): _compared(found, streams) for streams in STREAMS},
        "tokens_per_answer": TOKENS,
        "rounds": ROUNDS,
        "load_before": load,
    }


def _compared(found: dict[tuple[str, int], list[Load]], streams: int) -> dict[str, Any]:
    waves = {variant: found[variant, streams] for variant in VARIANTS}
    speeds = {variant: [wave.speed for wave in rounds] for variant, rounds in waves.items()}
    efforts = {variant: [wave.effort for wave in rounds] for variant, rounds in waves.items()}
    firsts = {variant: [wave.first for wave in rounds] for variant, rounds in waves.items()}
    answers = [answer.tokens for wave in waves["filter"] for answer in wave.answers]
    windows = [window for wave in waves["filter"] for window in wave.windows]

    def added(variant: str, to: str) -> float:
        pairs = zip(firsts[variant], firsts[to], strict=True)
        return statistics.median(ours - theirs for ours, theirs in pairs)

    def ratios(found: dict[str, list[float]], variant: str) -> dict[str, Any]:
        pairs = zip(found[variant], found["none"], strict=True)
        values = [ours / theirs for ours, theirs in pairs]
        return {"median": statistics.median(values), "rounds": values}

    return {
        "window_ms": _spread(windows),
        "windows_per_answer": len(windows) / len(answers),
        "first_text_ms": {name: statistics.median(values) for name, values in firsts.items()},
        "first_text_added_ms": {
            "prompts": added("prompts", "none"),
            "answers": added("filter", "prompts"),
            "both": added("filter", "none"),
        },
        "tokens_per_second": {name: statistics.median(values) for name, values in speeds.items()},
        "throughput_of_none": {name: ratios(speeds, name) for name in VARIANTS[1:]},
        "cpu_ms_per_token": {name: statistics.median(values) for name, values in efforts.items()},
        "cpu_of_none": {name: ratios(efforts, name) for name in VARIANTS[1:]},
        "tokens_per_answer": statistics.mean(answers),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": statistics.median(ordered),
        "p99": ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)],
        "max": ordered[-1],
        "count": len(ordered),
    }


def _idle(texts: Sequence[str] | dict[str, None]) -> dict[str, Any]:
    """Time the windows of answers with nothing else running."""
    guard = Guard.load(shipped(POLICY))
    guard.judge("The first call loads what is loaded late.", "output")
    windows: list[float] = []
    cpu: list[float] = []
    for views in _windows(texts, guard):
        began, used = time.perf_counter(), time.process_time()
        guard.judge_many(views, "output")
        windows.append(1000 * (time.perf_counter() - began))
        cpu.append(1000 * (time.process_time() - used))
    return {"wall": _spread(windows), "cpu": _spread(cpu)}


def _windows(texts: Iterable[str], guard: Guard) -> Iterator[tuple[str, ...]]:
    """Yield what is judged at once, window by window, of answers of which nothing is blocked."""
    for text in texts:
        outlet = StreamFilter(guard.policy.stream.model_copy(update={"mode": "flag"}))
        outlet.feed(TEXT, text)
        outlet.finish()
        while segment := outlet.segment():
            yield segment.views
            outlet.settle(Verdict("allow", language="en"))


def _floor(texts: Iterable[str]) -> dict[str, Any]:
    """Return what a window multiplies, how fast this machine multiplies, and so its least time.

    Counted are the products with weights of the encoder, two operations each; the speed is that of
    one large product, which those of a window, a few dozen rows, do not reach.
    """
    model = encoder()
    size = model.packed
    weights = size.layers * (4 * size.width**2 + 2 * size.width * size.inner)
    guard = Guard.load(shipped(POLICY))
    tokens = [
        sum(len(model.tokens(part)) for view in views
            for reading in readings(view, model.spaced) for part in pieces(reading, "output"))
        for views in _windows(texts, guard)
    ]  # fmt: skip
    speed = _multiplies()
    least = [1000 * 2 * weights * count / speed for count in tokens]
    return {
        "tokens": _spread(tokens),
        "gflop": _spread([2e-9 * weights * count for count in tokens]),
        "gflop_per_second_of_a_large_product": speed / 1e9,
        "least_ms": _spread(least),
    }


def _multiplies() -> float:
    """Return the operations a second of a large matrix product in the encoder's precision."""
    import torch

    kind = torch.bfloat16 if multiplies_bf16() else torch.float32
    one, seconds = torch.randn(2048, 2048).to(kind), []
    for _ in range(7):
        began = time.perf_counter()
        one @ one
        seconds.append(time.perf_counter() - began)
    return 2 * 2048**3 / statistics.median(seconds)


def _wave(url: str, audit: Path, process: int, streams: int) -> Load:
    """Ask `streams` questions at the same time."""
    skip = len(audit.read_bytes().splitlines())
    began, used = time.perf_counter(), _cpu(process)
    answers = asked(url, streams)
    seconds, cpu = time.perf_counter() - began, _cpu(process) - used
    lines = [json.loads(line) for line in audit.read_bytes().splitlines()[skip:]]
    windows = [line["milliseconds"] for line in lines if line["direction"] == "output"]
    return Load(answers, seconds, cpu, windows)


def _cpu(process: int) -> float:
    """Return the CPU seconds of a process so far (user and system time of all its threads)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asked(url: str, streams: int) -> list[Answer]:
    """Return the answers to `streams` questions that were asked at the same time."""
    return asyncio.run(_asked(url, streams))


async def _asked(url: str, streams: int) -> list[Answer]:
    import httpx

    async with httpx.AsyncClient(timeout=120) as client:

        async def one(question: str) -> Answer:
            body = {
                "model": "x",
                "messages": [{"role": "user", "content": question}],
                "temperature": 0,
                "max_tokens": TOKENS,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
            began, first, text, tokens = time.perf_counter(), 0.0, "", 0
            async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as reply:
                async for line in reply.aiter_lines():
                    if not line.startswith("data: {"):
                        continue
                    chunk = json.loads(line[6:])
                    tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
                    for choice in chunk["choices"]:
                        text += choice["delta"].get("content") or ""
                        if text and not first:
                            first = time.perf_counter() - began
            return Answer(text, tokens, first)

        return list(await asyncio.gather(*map(one, QUESTIONS[:streams])))


@contextmanager
def _servers(base: Path, folder: Path) -> Iterator[dict[str, tuple[str, Path, int]]]:
    """Run a server of each variant and give their addresses, audit logs and process ids."""
    started: dict[str, subprocess.Popen[str]] = {}
    try:
        found = {}
        for variant in VARIANTS:
            audit = folder / f"{variant}.jsonl"
            command = [sys.executable, "-m", "bench.filter", str(base), variant, str(audit)]
            server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            started[variant] = server
            assert server.stderr is not None
            address = next(filter(None, (re.search(r"http://\S+", line) for line in server.stderr)))
            found[variant] = address.group(), audit, server.pid
        yield found
    finally:
        for server in started.values():
            server.terminate()
            server.communicate()


class Everything:
    """Allows everything at once."""

    def judge(self, text: str, direction: str) -> Verdict:
        """Allow a text."""
        return Verdict("allow", language="en")

    def refusal(self, verdict: Verdict) -> str:
        """Never be asked."""
        raise NotImplementedError


def _serve(base: Path, variant: str, audit: Path) -> None:
    """Serve until SIGTERM; the address goes to standard error."""
    from aurora_release import log
    from aurora_release.serve.app import create_app
    from aurora_release.serve.engines.embedded import EmbeddedEngine
    from aurora_release.serve.server import listen, run

    log.quiet_libraries()
    guard = Everything() if variant == "none" else Guard.load(shipped(POLICY))
    stream = guard.policy.stream if isinstance(guard, Guard) else Stream()
    mode = "flag" if variant == "filter" else "off"
    stream = stream.model_copy(update={"mode": mode})
    engine = EmbeddedEngine.load(base)
    settings = Settings(stream=stream, audit_log=AuditLog(audit, ""), chat_page=False)
    with listen("127.0.0.1", 0) as listener:
        app = create_app(engine, guard, settings)
        sys.stderr.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stderr.flush()
        run(app, listener)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
