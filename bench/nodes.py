"""Does a run go on when one of its two machines dies, and does it end with the same weights?

Two network namespaces with a cable (veth) between them, each with a host name and an sshd of its
own, stand for two machines with one file system. Real are ssh, pdsh, DeepSpeed's launcher, and gloo
over the cable. `killed`: every process of the second machine is ended by SIGKILL. `cut`: the cable
is pulled first, so that nobody hears of their end. Both go on with two ranks on the first machine.
Needs root, and Debian's `openssh-server` and `pdsh`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.evidence import sha256_file

RECIPE, STAGE, STEPS, EVERY = "aurora-m-twin", "cap", 24, 6
PATIENCE = 600
_NODES = ("aurora-1", "aurora-2")
_ADDRESSES = ("10.77.0.1", "10.77.0.2")
_PYTHON = [sys.executable, "-m", "aurora_release"]
_TOKENS = STEPS * 8 * 256


def measure() -> dict[str, Any]:
    """Return how each run ended, how long the end of a machine went unnoticed, and what came out.

    Raises:
        AuroraError: this is no place for it.
    """
    if os.geteuid() or not (shutil.which("pdsh") and Path("/usr/sbin/sshd").exists()):
        raise AuroraError("Needs root, openssh-server and pdsh: apt-get install them first.")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        runs = scratch / "data"
        subprocess.run([*_PYTHON, "run", RECIPE, "--until", "data", "--runs", runs], check=True)
        with _network(scratch) as ssh:
            alone = _Run(scratch, "alone", ssh)
            alone.on_one()
            both = _Run(scratch, "both", ssh)
            both.finish(both.on_two())
            hurt = {case: _hurt(_Run(scratch, case, ssh), case) for case in ("killed", "cut")}
        return {
            "what": " ".join(str(__doc__).split("\n\n")[1].split()),
            "steps": STEPS,
            "weights": {"one machine": alone.weights(), "two machines": both.weights()},
            "machine_lost": hurt,
        }


def _hurt(run: "_Run", case: str) -> dict[str, Any]:
    """End the second machine in the middle of a run; return what was seen, and go on without it."""
    process = run.on_two()
    run.await_checkpoint(process)
    if case == "cut":
        _ip("-n", _NODES[1], "link", "set", "cable", "down")
    pids = _ip("netns", "pids", _NODES[1]).split()
    began = time.monotonic()
    subprocess.run(["kill", "-9", *pids], check=False)
    said = run.finish(process)
    noticed, saved = time.monotonic() - began, run.saved()
    _ip("-n", _NODES[1], "link", "set", "cable", "up")
    run.start_ssh(_NODES[1])
    run.on_one()
    return {
        "exit_code": process.returncode,
        "said": said.rpartition("aurora: ")[2].partition("\n")[0],
        "noticed_after_seconds": round(noticed, 1),
        "went_on_from": saved[-1],
        "weights": run.weights(),
    }


class _Run:
    """`aurora train` of one stage in a folder of its own, with two ranks."""

    def __init__(self, scratch: Path, name: str, ssh: "_Ssh") -> None:
        self._scratch, self._ssh = scratch, ssh
        self._runs = scratch / name
        shutil.copytree(scratch / "data", self._runs)
        self._stage = self._runs / RECIPE / f"{STAGE}.partial"
        self._command = [*_PYTHON, "train", RECIPE, "--stage", STAGE, "--runs", str(self._runs),
                         f"train.stages.0.tokens={_TOKENS}", f"train.checkpoint_every={EVERY}",
                         "train.precision=fp32", "--ranks", "2"]  # fmt: skip

    def on_one(self) -> None:
        """Train to the end with both ranks on the first machine."""
        command = [*self._command, "--launch", "torchrun"]
        self.finish(self._start(command), expected=0)

    def on_two(self) -> "subprocess.Popen[str]":
        """Start with a rank on each machine."""
        return self._start([*self._command, "--launch", "deepspeed", "--nodes", "2",
                            "--hostfile", str(self._scratch / "hosts")])  # fmt: skip

    def finish(self, process: "subprocess.Popen[str]", expected: int | None = None) -> str:
        """Wait for the end and return what was said.

        Raises:
            AuroraError: it ended in another way than expected.
        """
        said = process.communicate(timeout=PATIENCE)[1]
        if expected is not None and process.returncode != expected:
            raise AuroraError(f"exit code {process.returncode}:\n{said[-3000:]}")
        return said

    def await_checkpoint(self, process: "subprocess.Popen[str]") -> None:
        """Wait until one is whole."""
        while not self.saved():
            if process.poll() is not None:
                raise AuroraError(f"It ended too early:\n{process.communicate()[1][-3000:]}")
            time.sleep(0.01)

    def saved(self) -> list[str]:
        """Return the names of the whole checkpoints."""
        return sorted(path.name for path in (self._stage / "checkpoints").glob("step-?????????"))

    def weights(self) -> str:
        """Return the digest of the weights that came out."""
        return sha256_file(self._runs / RECIPE / STAGE / "model.safetensors")

    def start_ssh(self, node: str) -> None:
        """Let a machine listen again."""
        self._ssh.start(node)

    def _start(self, command: list[str]) -> "subprocess.Popen[str]":
        environment = os.environ | {
            "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu",
            "PATH": f"{self._scratch}/bin:{os.environ['PATH']}",
        }  # fmt: skip
        return subprocess.Popen(
            [*_on(_NODES[0]), *command], env=environment, stderr=subprocess.PIPE, text=True
        )


class _Ssh:
    """The sshd of each machine, with keys of their own."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._servers: list[subprocess.Popen[bytes]] = []
        key, config = scratch / "key", scratch / "ssh_config"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        config.write_text(
            f"IdentityFile {key}\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\n"
            "LogLevel ERROR\n",
            encoding="utf-8",
        )
        (scratch / "sshd_config").write_text(
            f"HostKey {key}\nAuthorizedKeysFile {key}.pub\nStrictModes no\nUsePAM no\n"
            "PermitRootLogin prohibit-password\nPidFile none\n",
            encoding="utf-8",
        )
        (scratch / "bin").mkdir()
        wrapper = scratch / "bin" / "ssh"  # DeepSpeed and pdsh know no other way to a key
        wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {config} "$@"\n', encoding="utf-8")
        wrapper.chmod(0o755)
        Path("/run/sshd").mkdir(exist_ok=True)

    def start(self, node: str) -> None:
        """Listen on a machine."""
        command = ["/usr/sbin/sshd", "-D", "-f", str(self._scratch / "sshd_config")]
        self._servers.append(subprocess.Popen([*_on(node), *command]))

    def stop(self) -> None:
        """End them all."""
        for server in self._servers:
            server.kill()
            server.wait()


@contextmanager
def _network(scratch: Path) -> Iterator[_Ssh]:
    """Lay the cable between two machines that know each other by name; take all away again."""
    ssh, etc = _Ssh(scratch), Path("/etc/netns")
    known = "".join(f"{a} {n}\n" for a, n in zip(_ADDRESSES, _NODES, strict=True))
    (scratch / "hosts").write_text("".join(f"{n} slots=1\n" for n in _NODES), encoding="utf-8")
    try:
        for node in _NODES:
            (etc / node).mkdir(parents=True)
            (etc / node / "hosts").write_text(f"127.0.0.1 localhost\n{known}", encoding="utf-8")
            _ip("netns", "add", node)
        _ip("link", "add", "cable", "netns", _NODES[0], "type", "veth",
            "peer", "name", "cable", "netns", _NODES[1])  # fmt: skip
        for node, address in zip(_NODES, _ADDRESSES, strict=True):
            _ip("-n", node, "address", "add", f"{address}/24", "dev", "cable")
            for device in ("cable", "lo"):
                _ip("-n", node, "link", "set", device, "up")
            ssh.start(node)
        yield ssh
    finally:
        ssh.stop()
        for node in _NODES:
            subprocess.run(["ip", "netns", "delete", node], check=False)
            shutil.rmtree(etc / node, ignore_errors=True)


def _on(node: str) -> list[str]:
    """Return what runs a command on a machine: in its network, under its name."""
    return ["ip", "netns", "exec", node, "unshare", "--uts", "sh", "-c",
            f'hostname {node} && exec "$@"', "sh"]  # fmt: skip


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout
