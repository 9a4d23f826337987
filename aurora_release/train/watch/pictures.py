"""The pictures of a stage: loss, learning rate, gradient norm, and what it gains and forgets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aurora_release.picture import COLOURS, INK, QUIET, figure, smooth

Rows = Sequence[Mapping[str, Any]]
"""Lines of metrics.jsonl or validation.jsonl."""


def loss(rows: Rows, path: Path) -> None:
    """Draw the loss of every step, its running mean, and the batches that were skipped."""
    trained = [row for row in rows if not row["skipped"]]
    skipped = [row for row in rows if row["skipped"] and row["loss"] is not None]
    steps, values = [row["step"] for row in trained], [row["loss"] for row in trained]
    with figure(path, height=4.2) as axes:
        axes.plot(steps, values, color=COLOURS[0], linewidth=1, alpha=0.35)
        axes.plot(steps, smooth(values), color=COLOURS[0], linewidth=3)
        if skipped:
            axes.plot(
                [row["step"] for row in skipped], [row["loss"] for row in skipped],
                "x", color=COLOURS[5], markersize=9, markeredgewidth=2.5, label="skipped",
            )  # fmt: skip
            axes.legend(frameon=False)
        _finish(axes, "Training loss", "nats per token")


def curve(rows: Rows, key: str, title: str, unit: str, path: Path) -> None:
    """Draw one metric over the steps."""
    found = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    with figure(path, height=3.2) as axes:
        axes.plot(*zip(*found, strict=True), color=COLOURS[0], linewidth=2)
        axes.set_ylim(bottom=0)
        _finish(axes, title, unit)


def changes(history: Rows, floors: Mapping[str, float], path: Path) -> None:
    """Draw each set's change from the base model with its 95 % interval, and the floors."""
    names = list(history[-1]["sets"])
    groups = [names[first : first + len(COLOURS)] for first in range(0, len(names), len(COLOURS))]
    with figure(path, height=1.0 + 3.6 * len(groups), panels=len(groups)) as panels:
        for number, group in enumerate(groups):
            axes = panels if len(groups) == 1 else panels[number]
            for name, colour in zip(group, COLOURS, strict=False):
                _change(axes, name, history, colour)
            axes.axhline(0, color=INK, linewidth=1.2)
            for floor in sorted({floors.get(name, floors.get("*", 0.0)) for name in group} - {0.0}):
                _floor(axes, floor)
            title = "" if number else "Bits per byte, change from the base model"
            _finish(axes, title, "percent (below 0 is better)")
            axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=12)


def _change(axes: Any, name: str, history: Rows, colour: str) -> None:
    rows = [(line["step"], line["sets"][name]) for line in history if name in line["sets"]]
    steps, values = [step for step, _ in rows], [100 * row["change"] for _, row in rows]
    low, high = ([100 * row["interval"][end] for _, row in rows] for end in (0, 1))
    axes.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
    axes.plot(steps, values, color=colour, linewidth=2.5, marker="o", markersize=4, label=name)


def _floor(axes: Any, floor: float) -> None:
    axes.axhline(100 * floor, color=COLOURS[5], linewidth=2, linestyle=(0, (4, 3)))
    axes.annotate(
        f"floor {100 * floor:+g} %", (1, 100 * floor), xytext=(0, 4), ha="right",
        xycoords=("axes fraction", "data"), textcoords="offset points",
        color=COLOURS[5], fontsize=12,
    )  # fmt: skip


def _finish(axes: Any, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(unit)
    axes.set_xlim(left=0)
    axes.grid(axis="y", color=QUIET, linewidth=0.8)
