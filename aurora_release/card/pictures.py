"""The pictures of a card: loss curves, and what training changed; same numbers, same bytes."""

from pathlib import Path
from typing import Any

from aurora_release.picture import COLOURS, INK, QUIET, figure, smooth

FOLDER = "images"
FILES = LOSS, FORGETTING, CHANGES, SAFETY, FORMATS = tuple(
    f"{FOLDER}/{name}.png" for name in ("loss", "forgetting", "bits", "safety", "formats")
)
"""What a release may hold, each where its numbers were measured."""


def loss(curves: list[dict[str, Any]], path: Path) -> None:
    """Draw the loss of the training stages, one after the other."""
    steps(curves, "Training loss", "nats per token", path)


def steps(curves: list[dict[str, Any]], title: str, unit: str, path: Path) -> None:
    """Draw a value of each step of the training stages, one stage after the other."""
    with figure(path, height=4.6) as axes:
        first = 0
        for number, curve in enumerate(curves):
            places = [first + step for step, _ in curve["points"]]
            values = [value for _, value in curve["points"]]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(places, values, color=colour, linewidth=1, alpha=0.35)
            axes.plot(places, smooth(values), color=colour, linewidth=3, label=curve["stage"])
            if first:
                axes.axvline(first, color=QUIET, linewidth=1.5, zorder=0)
            first = places[-1]
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("optimizer step (thin: each step, thick: running mean)")
        axes.set_ylabel(unit)
        axes.set_xlim(left=0)
        axes.grid(axis="y", color=QUIET, linewidth=0.8)
        axes.legend(frameon=False, loc="upper right")


def forgetting(stages: list[dict[str, Any]], path: Path) -> None:
    """Draw each set's change from the base model while the stages trained, one after the other."""
    names = list(dict.fromkeys(name for stage in stages for line in stage["history"]
                               for name in line["sets"]))  # fmt: skip
    with figure(path, height=5.2) as axes:
        first = 0
        for stage in stages:
            for number, name in enumerate(names):
                _curve(axes, name, stage["history"], first, number)
            if first:
                axes.axvline(first, color=QUIET, linewidth=1.5, zorder=0)
            first += stage["history"][-1]["step"]
        for floor in sorted({floor for stage in stages for floor in stage["floors"].values()}):
            axes.axhline(100 * floor, color=INK, linewidth=1.4, linestyle="--")
        axes.axhline(0, color=INK, linewidth=1.2)
        axes.set_title("Gains and forgetting while training", loc="left", fontweight="bold")
        axes.set_xlabel("optimizer step (band: 95 % interval; dashed: floors)")
        axes.set_ylabel("bits per byte, %")
        axes.grid(axis="y", color=QUIET, linewidth=0.8)
        _legend(axes)


def _curve(axes: Any, name: str, history: list[Any], first: int, number: int) -> None:
    rows = [(first + line["step"], line["sets"][name]) for line in history if name in line["sets"]]
    steps, values = [step for step, _ in rows], [100 * row["change"] for _, row in rows]
    low, high = ([100 * row["interval"][end] for _, row in rows] for end in (0, 1))
    colour, style = COLOURS[number % len(COLOURS)], "-" if number < len(COLOURS) else ":"
    axes.fill_between(steps, low, high, color=colour, alpha=0.13, linewidth=0)
    axes.plot(steps, values, style, color=colour, linewidth=2.5, label=None if first else name)


def formats(points: list[dict[str, Any]], path: Path) -> None:
    """Draw the size of each variant against what it loses, a point for each source."""
    sources = list(dict.fromkeys(cell["source"] for point in points for cell in point["cells"]))
    sizes = [point["bytes"] / 1e6 for point in points]
    apart = (max(sizes) - min(sizes) or max(sizes)) * 0.02
    with figure(path, height=4.8) as axes:
        for number, source in enumerate(sources):
            shift = (number - (len(sources) - 1) / 2) * apart
            cells = [
                (size + shift, cell)
                for size, point in zip(sizes, points, strict=True)
                for cell in point["cells"]
                if cell["source"] == source and cell["change"] is not None
            ]
            colour = COLOURS[number % len(COLOURS)]
            marker = "o" if number < len(COLOURS) else "s"
            for size, cell in cells:
                ends = [100 * end for end in cell["interval"] or [cell["change"]] * 2]
                axes.plot([size, size], ends, color=colour, linewidth=1.6, alpha=0.6)
            axes.plot([size for size, _ in cells], [100 * cell["change"] for _, cell in cells],
                      marker, color=colour, markersize=8, label=source)  # fmt: skip
        for point in points:
            axes.annotate(point["name"], (point["bytes"] / 1e6, 1), (0, 2),
                          xycoords=("data", "axes fraction"), textcoords="offset points",
                          ha="center", va="bottom", fontsize=12)  # fmt: skip
        axes.axhline(0, color=INK, linewidth=1.2)
        axes.margins(x=0.25)
        axes.set_title("Quantized variants: size and loss", loc="left", fontweight="bold", pad=24)
        axes.set_xlabel("megabytes of weights (left is smaller; line: 95 % interval)")
        axes.set_ylabel("bits per byte, %")
        axes.grid(color=QUIET, linewidth=0.8)
        _legend(axes)


def _legend(axes: Any) -> None:
    axes.figure.legend(frameon=False, ncols=4, loc="outside lower center", fontsize=12)


def changes(models: list[str], rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the change of bits per byte from the base model, a bar for each source and model."""
    thick = 0.8 / len(models)
    with figure(path, height=2.0 + len(rows) * (0.35 + 0.27 * len(models))) as axes:
        for number, model in enumerate(models):
            cells = [next(cell for cell in row["cells"] if cell["model"] == model) for row in rows]
            places = [
                place + (number - (len(models) - 1) / 2) * thick for place in range(len(rows))
            ]
            drawn = [
                (place, 100 * cell["change"], cell["interval"])
                for place, cell in zip(places, cells, strict=True)
                if cell["change"] is not None
            ]
            colour = COLOURS[number % len(COLOURS)]
            axes.barh(
                [place for place, _, _ in drawn], [value for _, value, _ in drawn],
                height=thick * 0.88, color=colour, label=model,
            )  # fmt: skip
            for place, value, interval in drawn:
                _label(axes, place, value, interval)
        _finish(axes, [row["source"] for row in rows])


def _label(axes: Any, place: float, value: float, interval: list[float] | None) -> None:
    """Write a bar's value past its end, and its interval as a line."""
    ends = [100 * end for end in interval] if interval else [value, value]
    if interval:
        axes.plot(ends, [place, place], color=INK, linewidth=1.6)
    fall = value < 0
    axes.annotate(
        f"{value:+.1f}".replace("-", "−"), (min(ends) if fall else max(ends), place),
        xytext=(-5 if fall else 5, 0), textcoords="offset points",
        ha="right" if fall else "left", va="center", fontsize=11,
    )  # fmt: skip


def _finish(axes: Any, sources: list[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.axvline(0, color=INK, linewidth=1.2)
    axes.set_yticks(range(len(sources)), sources)
    axes.invert_yaxis()
    axes.use_sticky_edges = False
    axes.margins(x=0.12, y=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=QUIET, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title("Bits per byte, change from the base model", loc="left", fontweight="bold")
    axes.set_xlabel("percent (left of zero is better; line: 95 % interval)")
    axes.figure.legend(frameon=False, ncols=4, loc="outside lower center")
