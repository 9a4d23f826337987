"""Does vLLM behind us find for one API key what it read for another?

One prompt of several hundred tokens, sent through `aurora serve` to a vLLM server that keeps
prefixes: by one key twice, by another twice, then twice more with a `cache_salt` of the client's
own; last by the first key again. Each time, the tokens that vLLM says it found in its cache.
"""

import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI

from aurora_release import chain
from aurora_release.serve.keys import KeyLimits, add
from bench.vllm import Server, aurora, vllm

RUNS = Path("runs")
PROMPT = " ".join(f"Station {number} is {number * 7 % 90} km from the sea." for number in range(30))
ASKED = (
    ("alice", None),
    ("alice", None),
    ("bob", None),
    ("bob", None),
    ("bob", "a salt"),
    ("bob", "a salt"),
    ("alice", None),
)


def measure() -> dict[str, Any]:
    """Return who asked, in turn, and how many of the prompt's tokens vLLM had read before."""
    base = chain.run("demo", runs=RUNS, until="base") / "base"
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        keys = {user: add(scratch / "keys", user, KeyLimits()) for user in ("alice", "bob")}
        with _servers(base, scratch) as (behind, ours):
            turns = [_turn(behind, ours, keys[user], salt) for user, salt in ASKED]
    return {
        "what": " ".join(str(__doc__).split("\n\n")[1].split()),
        "turns": [
            {"key": user, "cache_salt": salt, **turn}
            for (user, salt), turn in zip(ASKED, turns, strict=True)
        ],
    }


def _turn(behind: Server, ours: Server, key: str, salt: str | None) -> dict[str, int]:
    found = _found(behind)
    # a busy vLLM misses the looks at its health, and is then not asked for a while
    with OpenAI(base_url=f"{ours.url}/v1", api_key=key, max_retries=30, timeout=300) as client:
        reply = client.completions.create(
            model="x", prompt=PROMPT, max_tokens=1, extra_body={"cache_salt": salt}
        )
    assert reply.usage is not None
    return {
        "prompt_tokens": reply.usage.prompt_tokens,
        "found_in_cache": _found(behind) - found,
    }


def _found(server: Server) -> int:
    """Return the tokens that vLLM has found in its prefix cache so far."""
    page = httpx.get(f"{server.url}/metrics", timeout=30).text
    return round(
        sum(float(n) for n in re.findall(r"^vllm:prefix_cache_hits_total\S* (\S+)$", page, re.M))
    )


@contextmanager
def _servers(base: Path, scratch: Path) -> Iterator[tuple[Server, Server]]:
    """Run vLLM, and `aurora serve` with keys in front of it."""
    servers = [vllm(base, scratch / "vllm.log")]
    try:
        servers[0].wait()
        options = ["--upstream", servers[0].url, "--api-key-file", str(scratch / "keys")]
        command = ["aurora_release", "serve", str(base), *options]
        servers.append(aurora(command, scratch / "ours.log"))
        servers[1].wait()
        yield servers[0], servers[1]
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.signal(signal.SIGKILL)
