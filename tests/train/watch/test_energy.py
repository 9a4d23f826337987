"""Energy from the kernel's counters, whose tree of files is laid out here as the kernel has it."""

from pathlib import Path

import pytest
import torch

from aurora_release.train.watch import energy
from aurora_release.train.watch.energy import Meter


@pytest.fixture
def powercap(tmp_path: Path) -> Path:
    """Two packages, one with a counter of its cores, which the package counts as well."""
    for name in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "max_energy_range_uj").write_text("10000000\n")
    count(tmp_path, 1_000_000, 9_000_000)
    return tmp_path


def count(powercap: Path, *microjoules: int) -> None:
    for package, value in enumerate(microjoules):
        (powercap / f"intel-rapl:{package}" / "energy_uj").write_text(f"{value}\n")
    (powercap / "intel-rapl:0:0" / "energy_uj").write_text("77\n")


def test_packages_are_added_up_and_a_counter_may_come_round(powercap: Path) -> None:
    meter = Meter(powercap)
    meter.begin()
    count(powercap, 3_500_000, 500_000)
    assert meter.joules()["processor"] == pytest.approx(2.5 + 1.5)


def test_without_counters_nothing_is_measured(tmp_path: Path, powercap: Path) -> None:
    assert Meter(tmp_path / "none").joules()["processor"] is None
    meter = Meter(powercap)
    (powercap / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.joules()["processor"] is None


def test_a_part_counts_where_every_step_has_it() -> None:
    steps = [{"processor_joules": 2.0, "accelerator_joules": None}, {"processor_joules": 3.0}]
    assert energy.facts(steps) == {"processor": 5.0}
    assert energy.facts([*steps, {}]) is None
    assert energy.facts([]) is None


@pytest.mark.gpu
def test_a_gpu_counts_what_it_draws() -> None:
    meter = Meter()
    square = torch.rand(4096, 4096, device="cuda")
    meter.begin()
    for _ in range(200):
        square = square @ square / 4096
    torch.cuda.synchronize()
    assert 1 < meter.joules()["accelerator"] < 10_000
