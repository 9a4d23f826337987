from pathlib import Path
from typing import Any

from aurora_release.card import pictures

CURVES = [{"stage": "cap", "points": [[step, 3.0 / step] for step in range(1, 30)]}]

HISTORY = [
    {"step": step, "sets": {"help-fi": {"change": -step / 100, "interval": [-0.3, 0.1]}}}
    for step in (0, 10, 20)
]
STAGES = [{"stage": name, "floors": {"*": 0.05}, "history": HISTORY} for name in ("cap", "cat")]
FORMATS = [
    {"name": name, "bytes": size, "cells": [{"source": "fi", "change": 0.1, "interval": None}]}
    for name, size in (("nf4", 10**8), ("gguf", 10**8))
]


def _rows(change: float | None) -> list[dict[str, Any]]:
    interval = None if change is None else [change - 0.01, change + 0.01]
    return [
        {"source": "help-fi", "cells": [{"model": "cat", "change": change, "interval": interval}]}
    ]


def test_pictures_of_the_same_numbers_have_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        pictures.loss(CURVES, tmp_path / f"{name}-loss.png")
        pictures.changes(["cat"], _rows(-0.2), tmp_path / f"{name}-bits.png")
        pictures.forgetting(STAGES, tmp_path / f"{name}-forgetting.png")
        pictures.formats(FORMATS, tmp_path / f"{name}-formats.png")
    for kind in ("loss", "bits", "forgetting", "formats"):
        one = (tmp_path / f"one-{kind}.png").read_bytes()
        assert one == (tmp_path / f"two-{kind}.png").read_bytes()
        assert b"Software" not in one and b"tIME" not in one


def test_pictures_do_not_depend_on_the_settings_of_the_user(tmp_path: Path) -> None:
    import matplotlib

    pictures.loss(CURVES, tmp_path / "one.png")
    with matplotlib.rc_context({"lines.linewidth": 9, "axes.facecolor": "red", "font.size": 4}):
        pictures.loss(CURVES, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_unknown_changes_and_single_points_are_drawn_around(tmp_path: Path) -> None:
    pictures.changes(["cat"], _rows(None), tmp_path / "bits.png")
    pictures.loss([{"stage": "cap", "points": [[1, 2.5]]}], tmp_path / "loss.png")
    assert (tmp_path / "bits.png").stat().st_size > 1000
    assert (tmp_path / "loss.png").stat().st_size > 1000
