"""The look of every picture: colours, type, and the same bytes for the same numbers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Okabe and Ito 2008: told apart with every kind of colour vision
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
INK, QUIET = "#222222", "#d9d9d9"
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 15,
    "svg.fonttype": "none",
    "svg.hashsalt": "aurora",
    "text.parse_math": False,
    "text.color": INK,
    "axes.titlesize": 16,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
}
_STAMPS = {".png": ("Software",), ".svg": ("Creator", "Date", "Format", "Type")}
"""What matplotlib would say of itself, by the kind of file."""


@contextmanager
def figure(path: Path, height: float, panels: int = 1) -> Iterator[Any]:
    """Yield axes and write what was drawn on them, a PNG or SVG that holds no time and no version.

    `height` is in inches at a width of 7.2; several panels, one below the other, come as a list.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    # without the settings of the person who runs this
    with style.context(["default", _STYLE], after_reset=True):
        drawn = Figure(figsize=(7.2, height), dpi=150, layout="constrained")
        yield drawn.subplots(panels)
        drawn.savefig(path, metadata=dict.fromkeys(_STAMPS[path.suffix]))


def smooth(values: Sequence[float]) -> list[float]:
    """Return a centred mean over about a tenth of the values."""
    reach = max(2, len(values) // 20)
    return [
        sum(near) / len(near)
        for place in range(len(values))
        if (near := values[max(0, place - reach) : place + reach + 1])
    ]
