"""How long training takes on named machines, and what energy: from a table with its sources."""

import re
from dataclasses import dataclass

from aurora_release.errors import AuroraError, meant
from aurora_release.train.estimate.flops import PEAKS, peak

_FOUNDRY = "LLM-Foundry's benchmark tables, MPT 13B, sequence 2048"
_ASSUMED = "assumed; no published run of this kind was at hand"


@dataclass(frozen=True)
class Device:
    """One accelerator as a program sees it."""

    peak: float
    """Dense bf16 FLOP/s by the vendor's data sheet."""
    gibibytes: int
    watts: int | None
    """Thermal or board power by the vendor's data sheet; None where it is not known."""
    mfu: float
    """Share of the peak that training is assumed to reach."""
    mfu_source: str


DEVICES = {
    "h200": Device(PEAKS["H200"], 141, 700, 0.40, f"as an H100: {_FOUNDRY}, 64 GPUs"),
    "h100": Device(PEAKS["H100"], 80, 700, 0.40, f"{_FOUNDRY}, 64 GPUs: 39.9 %"),
    "a100-80gb": Device(PEAKS["A100"], 80, 400, 0.52, f"as an A100 of 40 GB: {_FOUNDRY}, 64 GPUs"),
    "a100-40gb": Device(PEAKS["A100"], 40, 400, 0.52, f"{_FOUNDRY}, 64 GPUs: 52.0 %"),
    # half of a card of 560 W, which is two devices to a program
    "mi250x": Device(
        PEAKS["MI250X"], 64, 280, 0.38,
        "22B model on Frontier, best layout: 38.4 % (arXiv 2312.12705)",
    ),
    "mi300x": Device(PEAKS["MI300X"], 192, 750, 0.35, _ASSUMED),
    "l40s": Device(PEAKS["L40S"], 48, 350, 0.40, _ASSUMED),
    "l4": Device(PEAKS["L4"], 24, 72, 0.40, _ASSUMED),
    "rtx-4090": Device(PEAKS["RTX 4090"], 24, 450, 0.40, _ASSUMED),
}  # fmt: skip

CPU = "cpu"


@dataclass(frozen=True)
class Machines:
    """So many devices of one kind."""

    name: str
    device: Device
    count: int


@dataclass(frozen=True)
class Cost:
    """What a number of operations costs on machines."""

    seconds: float
    kilowatt_hours: float | None
    """Accelerators times PUE; hosts, network and storage are not in it."""
    kilograms_co2: float | None


def machines(text: str) -> Machines:
    """Return the machines that `NAME:COUNT` names; `cpu` is this machine, its peak measured.

    Raises:
        AuroraError: no such device, or no count.
    """
    name, _, count = text.lower().partition(":")
    if name != CPU and name not in DEVICES:
        raise AuroraError(
            f"{text!r} names no known hardware; write NAME:COUNT with one of "
            f"{', '.join([*DEVICES, CPU])}, as in h100:256." + meant(name, [*DEVICES, CPU])
        )
    if not (count or "1").isdigit() or int(count or "1") < 1:
        raise AuroraError(f"{text!r}: {count!r} is not a number of devices; write {name}:8.")
    return Machines(name, DEVICES[name] if name in DEVICES else _this_cpu(), int(count or "1"))


def board_watts(name: str) -> int | None:
    """Return the board power of a device by the name that its driver gives; None if not known."""
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    if "pcie" in words:  # the same chip at another power
        return None
    known = [device for key, device in DEVICES.items() if set(key.split("-")) <= words]
    return known[0].watts if known else None


def cost(flops: float, on: Machines, mfu: float | None, pue: float, grid: float | None) -> Cost:
    """Return time, energy and carbon of `flops` operations.

    `mfu` replaces the assumed share of the peak, `pue` is the facility's energy over that of its
    machines, `grid` kg of CO2 equivalent for a kWh (no carbon is told without it).
    """
    seconds = flops / (on.device.peak * on.count * (mfu or on.device.mfu))
    if on.device.watts is None:
        return Cost(seconds, None, None)
    hours = seconds / 3600
    energy = on.device.watts * on.count * hours / 1000 * pue
    return Cost(seconds, energy, None if grid is None else energy * grid)


def _this_cpu() -> Device:
    from aurora_release.hardware import multiplies_bf16

    found = peak(multiplies_bf16())
    if found is None:
        raise AuroraError("This machine has a GPU; name it instead of cpu.")
    gibibytes = _memory() // 2**30
    return Device(found.flops, gibibytes, None, 0.40, f"{found.source}; bare loop on two cores")


def _memory() -> int:
    import os

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
