"""What this machine has for the demo and for more, what is missing, and what to do about it."""

import os
import shutil
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from aurora_release.errors import AuroraError
from aurora_release.node import LLAMA_CPP, node_folder

State = Literal["ok", "warning", "failed"]

DISK_BYTES = 4e9
"""What the demo writes, with room to spare (its recipe says so)."""
MEMORY_BYTES = 7.5e9
"""A machine sold with 8 GB shows a little less."""
_INSTALL = "pip install 'aurora-release[all]'."


@dataclass(frozen=True)
class Finding:
    """What one look found."""

    name: str
    state: State
    """`failed`: the demo cannot run; `warning`: it can, something else cannot, or is slow."""
    found: str
    advice: str = ""
    """What to do, in a sentence; empty where there is nothing to do."""


def examine(runs: Path = Path("runs"), port: int = 8000) -> list[Finding]:
    """Return what was found, in the order of the table; nothing is written, no network is used."""
    return [
        _python(),
        *_torch(),
        *_deepspeed(),
        _disk(runs),
        _memory(),
        _cores(),
        _port(port),
        _token(),
        _sandbox(),
        _npm(),
        _llama_cpp(),
        _vllm(),
    ]


def lines(findings: Iterable[Finding]) -> Iterable[str]:
    """Yield findings as a table of text; advice stands whole on a line of its own, to be copied."""
    for each in findings:
        yield f"{each.state:<8} {each.name:<14} {each.found}"
        if each.advice:
            yield f"{'':<24}{each.advice}"


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Finding("Python", "ok", found)
    return Finding("Python", "failed", found, "Install Python 3.11 or 3.12 and make setup again.")


def _torch() -> list[Finding]:
    """Return what torch is, what it runs on, and whether that multiplies bf16."""
    try:
        import torch
    except ImportError as error:
        return [Finding("torch", "failed", _first_line(error), _INSTALL)]
    from aurora_release.hardware import multiplies_bf16

    version = Finding("torch", "ok", str(torch.__version__))
    if torch.cuda.is_available():
        device = Finding("device", "ok", _gpus(torch))
    elif os.path.exists("/dev/nvidiactl"):
        device = Finding(
            "device", "warning", "there is a GPU, and this torch does not see it",
            "Install torch's CUDA build for your driver: pip install torch==2.13.0 (nvidia-smi "
            "says what the driver knows).",
        )  # fmt: skip
    else:
        device = Finding("device", "ok", "CPU, no GPU found")
    if multiplies_bf16():
        return [version, device, Finding("bf16", "ok", "in hardware")]
    slow = Finding(
        "bf16", "warning", "emulated, or slower than fp32",
        "Leave train.precision at `auto`, which takes fp32 here.",
    )  # fmt: skip
    return [version, device, slow]


def _gpus(torch: Any) -> str:
    count = torch.cuda.device_count()
    gibibytes = torch.cuda.get_device_properties(0).total_memory / 2**30
    return f"{count} x {torch.cuda.get_device_name(0)}, {gibibytes:.0f} GiB"


def _deepspeed() -> list[Finding]:
    """Return whether DeepSpeed can be imported, and what it could compile."""
    try:
        import deepspeed
        from deepspeed.ops.op_builder import CPUAdamBuilder
    except Exception as error:  # it looks for compilers and drivers as it is imported
        return [Finding("DeepSpeed", "failed", _first_line(error), _INSTALL)]
    missing = [tool for tool in ("g++", "ninja") if shutil.which(tool) is None]
    able = not missing and CPUAdamBuilder().is_compatible(verbose=False)
    why = f" (no {', no '.join(missing)})" if missing else ""
    return [
        Finding("DeepSpeed", "ok", str(deepspeed.__version__)),
        Finding(
            "DeepSpeed ops", "ok",
            f"cpu_adam can{'' if able else 'not'} be compiled here{why}; training needs none of "
            "them, it uses torch's AdamW",
        ),
    ]  # fmt: skip


def _disk(runs: Path) -> Finding:
    folder = next(each for each in (runs.absolute(), *runs.absolute().parents) if each.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.0f} GB free in {folder}"
    if free >= DISK_BYTES:
        return Finding("disk", "ok", found)
    advice = f"The demo needs {DISK_BYTES / 1e9:.0f} GB: make room, or name another disk by --runs."
    return Finding("disk", "failed", found, advice)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    most = total if text == "max" else min(total, int(text))
    found = f"{most / 1e9:.1f} GB" + ("" if most == total else " allowed to this container")
    if most >= MEMORY_BYTES:
        return Finding("memory", "ok", found)
    advice = "The demo was made for 8 GB: close other programs, or allow the container more."
    return Finding("memory", "warning", found, advice)


def _cores() -> Finding:
    count = len(os.sched_getaffinity(0))
    if count >= 2:
        return Finding("cores", "ok", str(count))
    return Finding("cores", "warning", str(count), "The demo takes about twice as long on one.")


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            advice = f"Serve on another port: aurora serve MODEL --port {port % 65535 + 1}."
            return Finding(f"port {port}", "warning", str(error.strerror), advice)
    return Finding(f"port {port}", "ok", "free")


def _token() -> Finding:
    if find_spec("huggingface_hub") is None:
        return Finding("Hub token", "warning", "huggingface_hub is not installed", _INSTALL)
    from huggingface_hub import get_token

    if get_token():
        return Finding("Hub token", "ok", "present (not shown)")
    advice = "To publish, or to read gated models: `hf auth login`, or set HF_TOKEN."
    return Finding("Hub token", "warning", "none", advice)


def _sandbox() -> Finding:
    from aurora_release.evaluate import sandbox

    try:
        sandbox.check()
    except AuroraError as error:
        return Finding("sandbox", "warning", "not allowed here", str(error))
    return Finding("sandbox", "ok", "code of a model can be run apart")


def _npm() -> Finding:
    found = shutil.which("npm")
    if found:
        return Finding("npm", "ok", found)
    advice = "Install Node.js: it brings llama.cpp ready-built, for K types and to serve GGUF."
    return Finding("npm", "warning", "not installed", advice)


def _llama_cpp() -> Finding:
    from aurora_release.quantize.llama_cpp import library

    server = shutil.which("llama-server")
    try:
        return Finding("llama.cpp", "ok", server or str(library()))
    except AuroraError:
        folder = node_folder().absolute()
        install = f"npm install --ignore-scripts --prefix {folder} {LLAMA_CPP}"
        return Finding(
            "llama.cpp", "warning", "not installed", f"For K types, and to serve GGUF: {install}"
        )


def _vllm() -> Finding:
    if find_spec("vllm"):
        return Finding("vLLM", "ok", "installed")
    advice = (
        "For throughput on GPUs, install it in an environment of its own and name that Python: "
        "aurora serve MODEL --engine vllm --engine-program PYTHON."
    )
    return Finding("vLLM", "warning", "not installed here", advice)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
