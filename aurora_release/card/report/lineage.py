"""Draws which stage was made from which: the graph of a run's evidence, from top to bottom."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.picture import COLOURS, INK, figure

Links = Mapping[str, Sequence[str]]
"""The stages that each stage was made from."""
Place = tuple[float, float]
"""Across, with 0 in the middle, and down."""

_ACROSS = 4
"""Boxes beside each other at most."""


def sorted_links(previous: Links) -> dict[str, list[str]]:
    """Return the links between known stages, each stage after those that it was made from.

    Raises:
        AuroraError: a stage was made from itself.
    """
    known = {name: sorted(set(parents) & previous.keys()) for name, parents in previous.items()}
    try:
        return {name: known[name] for name in TopologicalSorter(known).static_order()}
    except CycleError as error:
        around = ", ".join(error.args[1])
        raise AuroraError(
            f"The evidence says that stages are made from themselves: {around}."
        ) from None


def edges(links: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """Return (from, to) of each of the sorted links that no longer way says already."""
    above: dict[str, set[str]] = {}
    for name, parents in links.items():
        above[name] = set(parents).union(*(above[parent] for parent in parents))
    return [
        (parent, name)
        for name, parents in links.items()
        for parent in parents
        if not any(parent in above[other] for other in parents)
    ]


def places(links: Mapping[str, list[str]]) -> dict[str, Place]:
    """Return where each stage stands: below all that it was made from, and near to them."""
    depth: dict[str, int] = {}
    for name, parents in links.items():
        depth[name] = 1 + max((depth[parent] for parent in parents), default=-1)
    near: dict[str, list[str]] = {name: [] for name in links}
    for one, two in edges(links):
        near[two].append(one)
    found: dict[str, Place] = {}
    down = 0
    for level in range(max(depth.values()) + 1):
        names = [name for name in links if depth[name] == level]
        names.sort(key=lambda name: _middle([found[one][0] for one in near[name]]))
        for first in range(0, len(names), _ACROSS):
            line = names[first : first + _ACROSS]
            for place, name in enumerate(line):
                found[name] = (place - (len(line) - 1) / 2, down)
            down += 1
    return found


def _middle(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def draw(
    previous: Links,
    digests: Mapping[str, str],
    kinds: Mapping[str, int],
    released: bool,
    path: Path,
) -> None:
    """Draw each stage with the first digits of its evidence; `kinds` are numbers of colours.

    A release, which is made from all stages, is a bar below them.
    """
    links = sorted_links(previous)
    where = places(links)
    rows = 1 + max(down for _, down in where.values()) + released
    with figure(path, height=0.85 * rows) as axes:
        for one, two in edges(links):
            _arrow(axes, where[one], where[two])
        for name, (across, down) in where.items():
            label = f"{name}\n{digests[name][:8]}"
            _box(axes, across, down, label, COLOURS[kinds[name]] if name in kinds else INK)
        if released:
            _box(axes, 0, rows - 1, f"{' ' * 40}release: all of the above{' ' * 40}", INK)
        axes.set_xlim(-_ACROSS / 2, _ACROSS / 2)
        axes.set_ylim(0.5 - rows, 0.5)
        axes.set_axis_off()


def _box(axes: Any, across: float, down: float, label: str, colour: str) -> None:
    axes.text(
        across, -down, label, ha="center", va="center", fontsize=12, linespacing=1.25,
        bbox={"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": colour,
              "linewidth": 2},
    )  # fmt: skip


def _arrow(axes: Any, start: Place, end: Place) -> None:
    axes.annotate(
        "", xy=(end[0], 0.37 - end[1]), xytext=(start[0], -0.34 - start[1]),
        arrowprops={"arrowstyle": "-|>", "color": "#888888", "linewidth": 1.6, "shrinkA": 0,
                    "shrinkB": 0},
    )  # fmt: skip
