"""Draws what continual pretraining gained and lost elsewhere, as published, beside our own.

    python -m scripts.draw_published docs/results/evaluation cat

The folder holds `published.json` (tables that others published, with their sources) and
`comparison.json` (of `aurora evaluate`); `published.png` is written beside them. Tasks, shots and
sizes differ, so only the changes stand side by side, never the scores.
"""

import json
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from aurora_release.picture import COLOURS, INK, QUIET, figure

Changes = list[tuple[str, str, list[float]]]
"""(whose, language, change of every task in points), in the order they are drawn."""
_MEASURES = ("accuracy", "exact match", "pass@1")


def published(tables: list[dict[str, Any]]) -> Changes:
    """Return the changes of published tables."""
    return [
        (f"{table['after']['name']} from {table['before']['name']}", language, [
            row["values"][1] - row["values"][0] for row in rows
        ])
        for table in tables
        for language, rows in _by_language(table["rows"])
    ]  # fmt: skip


def ours(comparison: dict[str, Any], model: str) -> Changes:
    """Return the changes of tasks from the base to a model that we measured."""
    rows = [each for each in comparison["comparisons"][model] if each["measure"] in _MEASURES]
    rows = [each for each in rows if not each["what"].startswith("all ")]
    whose = f"measured here: {model} from {comparison['against']}"
    return [
        (whose, language, [100 * row["change"] for row in found])
        for language, found in _by_language(rows)
    ]


def _by_language(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for language, found in groupby(sorted(rows, key=_language), _language):
        yield language, list(found)


def _language(row: dict[str, Any]) -> str:
    return str(row["language"])


def draw(found: Changes, path: Path) -> None:
    """Draw every task as a small dot and the mean of a language as a large one."""
    names = list(dict.fromkeys(whose for whose, _, _ in found))
    with figure(path, height=1.8 + 0.34 * len(found)) as axes:
        for place, (whose, _, changes) in enumerate(found):
            colour = COLOURS[names.index(whose) % len(COLOURS)]
            axes.plot(changes, [place] * len(changes), "o", color=colour, alpha=0.35, markersize=5)
            mean = sum(changes) / len(changes)
            axes.plot([mean], [place], "o", color=colour, markersize=11)
        for name in names:
            colour = COLOURS[names.index(name) % len(COLOURS)]
            axes.plot([], [], "o", color=colour, markersize=11, label=name)
        axes.axvline(0, color=INK, linewidth=1.2)
        axes.set_yticks(range(len(found)), [f"{each[1]} ({len(each[2])})" for each in found])
        axes.invert_yaxis()
        axes.set_title("What continual pretraining changed", loc="left", fontweight="bold")
        axes.set_xlabel("points, right is better; small: a task, large: their mean", fontsize=12)
        axes.grid(axis="x", color=QUIET, linewidth=0.8)
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, -0.16), fontsize=11)


def main() -> None:
    """Write published.png."""
    folder, model = Path(sys.argv[1]), sys.argv[2]
    tables = json.loads((folder / "published.json").read_bytes())
    comparison = json.loads((folder / "comparison.json").read_bytes())
    draw([*published(tables), *ours(comparison, model)], folder / "published.png")


if __name__ == "__main__":
    main()
