"""What the steps of a stage drew: the processors' and the GPU's own energy counters, or nothing.

Processors count in the kernel's powercap tree (RAPL, of Intel and AMD; only root may read it on
most systems), GPUs in NVML. Memory outside the package, disks, fans and cooling are in neither.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from aurora_release.train.engine import world_size

POWERCAP = Path("/sys/class/powercap")

PARTS = ("processor", "accelerator")


class Meter:
    """Joules since the last look, over all ranks; a counter that cannot be read is None."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._packages = sorted(powercap.glob("intel-rapl:[0-9]*"))
        self._packages = [path for path in self._packages if path.name.count(":") == 1]
        self._gpu = _gpu()
        self._last = self._read()

    def begin(self) -> None:
        """Look at the counters; what they count from now on belongs to the next step."""
        self._last = self._read()

    def joules(self) -> dict[str, float | None]:
        """Return {part: joules} since the last look; all ranks call it together."""
        now = self._read()
        drawn = {
            "processor": self._drawn(self._last["processor"], now["processor"]),
            "accelerator": _difference(self._last["accelerator"], now["accelerator"]),
        }
        return _together(drawn)

    def _read(self) -> dict[str, Any]:
        return {"processor": self._packages_read(), "accelerator": self._gpu_read()}

    def _packages_read(self) -> list[int] | None:
        """Return the microjoules of each package of this machine, by the first of its ranks."""
        if not self._packages:
            return None
        try:
            return [int((path / "energy_uj").read_text("ascii")) for path in self._packages]
        except (OSError, ValueError):
            return None

    def _drawn(self, before: list[int] | None, after: list[int] | None) -> float | None:
        """Return joules between two looks; a counter that came round is at its range again."""
        if before is None or after is None:
            return None
        total = 0
        for path, old, new in zip(self._packages, before, after, strict=True):
            if new < old:
                new += int((path / "max_energy_range_uj").read_text("ascii"))
            total += new - old
        return total / 1e6

    def _gpu_read(self) -> float | None:
        """Return the joules of this rank's GPU since its driver was loaded."""
        if self._gpu is None:
            return None
        import pynvml

        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu)) / 1e3
        except pynvml.NVMLError:
            return None


def facts(rows: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Return {part: joules} of a stage; a part that was not read in every step is left out.

    None where no part was.
    """
    found: dict[str, float] = {}
    for part in PARTS:
        values = [row.get(f"{part}_joules") for row in rows]
        if values and None not in values:
            found[part] = sum(value for value in values if value is not None)
    return found or None


def _gpu() -> Any:
    """Return NVML's handle of this rank's GPU; None where there is none."""
    if not torch.cuda.is_available():
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except pynvml.NVMLError:
        return None


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _together(drawn: dict[str, float | None]) -> dict[str, float | None]:
    """Return the sums over all ranks; a machine's processors are counted by its first rank."""
    if world_size() == 1:
        return drawn
    own = os.environ.get("LOCAL_RANK", "0") == "0"
    joules, gpu = drawn["processor"] if own else 0.0, drawn["accelerator"]
    sums = torch.tensor(
        [joules or 0.0, joules is None, gpu or 0.0, gpu is None], dtype=torch.float64
    )
    if torch.cuda.is_available():
        sums = sums.cuda()
    torch.distributed.all_reduce(sums)
    processor, blind, accelerator, without = sums.tolist()
    return {
        "processor": None if blind else processor,
        "accelerator": None if without else accelerator,
    }
