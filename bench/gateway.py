"""What does it cost to stand in front of vLLM: throughput and the first text, beside bare vLLM?

One vLLM server, asked in turn directly (`bare`), through our server that judges nothing (`plain`),
and through our server with the filter in the mode `flag` (`filter`): it does all of the work, and
no false alarm shortens an answer. The same greedy chat answers, streamed, 1 and 8 at a time.
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aurora_release import chain
from bench.filter import POLICY, Everything, Wave, asked
from bench.vllm import Server, aurora, vllm

RUNS = Path("runs")
VARIANTS = ("bare", "plain", "filter")
STREAMS, ROUNDS = (1, 8), 5


def measure() -> dict[str, Any]:
    """Return tokens a second and milliseconds: medians of rounds, and their ratios in each."""
    base = chain.run("demo", runs=RUNS, until="base") / "base"
    load = os.getloadavg()
    found: dict[tuple[str, int], list[Wave]] = {}
    with tempfile.TemporaryDirectory() as name, _servers(base, Path(name)) as servers:
        for turn in range(ROUNDS + 1):
            for streams in STREAMS:
                for place in range(len(VARIANTS)):
                    variant = VARIANTS[(turn + place) % len(VARIANTS)]
                    done = _wave(servers, variant, streams)
                    if turn:  # the first round warms up
                        found.setdefault((variant, streams), []).append(done)
    return {
        "what": " ".join(str(__doc__).split("\n\n")[1].split()),
        "streams": {str(streams): _compared(found, streams) for streams in STREAMS},
        "rounds": ROUNDS,
        "load_before": load,
    }


def _compared(found: dict[tuple[str, int], list[Wave]], streams: int) -> dict[str, Any]:
    waves = {variant: found[variant, streams] for variant in VARIANTS}
    texts = {
        variant: [[answer.text for answer in wave.answers] for wave in rounds]
        for variant, rounds in waves.items()
    }
    return {
        variant: {
            "tokens_per_second": statistics.median(wave.speed for wave in rounds),
            "throughput_of_bare": _ratios(rounds, waves["bare"], "speed"),
            "cpu_ms_per_token": statistics.median(wave.effort for wave in rounds),
            "cpu_of_bare": _ratios(rounds, waves["bare"], "effort"),
            "first_text_ms": statistics.median(wave.first for wave in rounds),
            "first_text_added_ms": statistics.median(
                ours.first - theirs.first
                for ours, theirs in zip(rounds, waves["bare"], strict=True)
            ),
            "same_text_as_bare": texts[variant] == texts["bare"],
        }
        for variant, rounds in waves.items()
    }


def _ratios(ours: list[Wave], theirs: list[Wave], what: str) -> dict[str, Any]:
    values = [getattr(a, what) / getattr(b, what) for a, b in zip(ours, theirs, strict=True)]
    return {"median": statistics.median(values), "rounds": values}


def _wave(servers: dict[str, Server], variant: str, streams: int) -> Wave:
    used = {servers["bare"], servers[variant]}
    began, cpu = time.perf_counter(), sum(server.cpu_seconds() for server in used)
    answers = asked(servers[variant].url, streams)
    seconds = time.perf_counter() - began
    return Wave(answers, seconds, sum(server.cpu_seconds() for server in used) - cpu)


@contextmanager
def _servers(base: Path, scratch: Path) -> Iterator[dict[str, Server]]:
    """Run vLLM and both of our servers in front of it."""
    found = {"bare": vllm(base, scratch / "bare.log")}
    try:
        found["bare"].wait()
        for variant in VARIANTS[1:]:
            command = ["bench.gateway", str(base), variant, found["bare"].url]
            found[variant] = aurora(command, scratch / f"{variant}.log")
        for server in found.values():
            server.wait()
        yield found
    finally:
        for server in found.values():
            if server.process.poll() is None:
                server.signal(signal.SIGKILL)


def _serve(base: Path, variant: str, upstream: str, port: int) -> None:
    """Serve until a signal."""
    from aurora_release.safety.guard import Guard
    from aurora_release.safety.policy import Stream
    from aurora_release.serve.app import create_app
    from aurora_release.serve.engines.choose import Choice, open_engine
    from aurora_release.serve.server import listen, run
    from aurora_release.serve.settings import Settings
    from aurora_release.shipped import shipped

    guard = Everything() if variant == "plain" else Guard.load(shipped(POLICY))
    stream = guard.policy.stream if isinstance(guard, Guard) else Stream()
    mode = "flag" if variant == "filter" else "off"
    stream = stream.model_copy(update={"mode": mode})
    engine = open_engine(base, Choice("openai", (upstream,)))
    with listen("127.0.0.1", port) as listener:
        run(create_app(engine, guard, Settings(stream=stream, chat_page=False)), listener)


if __name__ == "__main__":
    model, variant, upstream, _, port = sys.argv[1:]
    _serve(Path(model), variant, upstream, int(port))
