"""The delta report as a table and as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aurora_release.picture import COLOURS, INK, QUIET, figure

_MISSING = "not measured"
_MARKS = (-50, -20, -10, -5, 0, 5, 10, 20, 50, 100, 200, 500, 1000)
Row = Mapping[str, Any]


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a page of tables."""
    rows = report["formats"]
    limit = report["limit"]
    rule = "" if limit is None else f" The gate is a rise of {limit:.0%} on any held-out source."
    tables = [_table("format", _COSTS, {row["name"]: _cost(row) for row in rows})]
    for kind, title in _TITLES.items():
        names = list(rows[0]["values"][kind])
        if names:
            cells = {row["name"]: [_cell(row, kind, name) for name in names] for row in rows}
            tables.append(_table(title, names, cells))
    near = {row["name"]: _near(row) for row in rows[1:]}
    tables.append(_table("certificate", _NEAR, near))
    return "\n".join([
        f"# {report['title']}: what each format costs",
        "",
        f"In brackets the change from `{report['source']}`, with its 95 % interval over the same "
        f"documents, items or requests.{rule}",
        "",
        tables[0],
        _how(rows),
        "",
        *tables[1:],
    ])  # fmt: skip


_COSTS = ("MB", "memory MB", "load s", "prefill", "decode, batch 1", "batch 8", "runs in", "gate")
_TITLES = {
    "held out": "bits per byte, held out",
    "sets": "bits per byte, sets",
    "answers": "right, %",
    "refused": "refused, % of requests",
}
_NEAR = ("made in s", "with MB", "largest logit difference", "same next token", "greedy agreement")


def _table(title: str, head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    lines = [[title, *head], ["---"] * (len(head) + 1)]
    lines += [[name, *cells] for name, cells in rows.items()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cost(row: Row) -> list[str]:
    cost, gate = row["cost"], row["gate"]
    passes = "" if gate is None else "passes" if gate["passed"] else "fails"
    size = f"{row['bytes'] / 1e6:.0f}"
    if cost is None:
        return [size, *[_MISSING] * 6, passes]
    peak = f"{cost['peak'] / 1e6:.0f}" if cost["peak"] else _MISSING
    speeds = (cost["prefill"], cost["decode"]["1"], cost["decode"]["8"])
    return [size, peak, f"{cost['load']:.1f}", *(f"{speed:.0f}" for speed in speeds),
            cost["runtime"], passes]  # fmt: skip


def _how(rows: Sequence[Row]) -> str:
    """Return how speed and memory were measured, and how busy the machine was."""
    each = [found for row in rows if row["cost"] for found in row["cost"]["rounds"]]
    if not each:
        return "Memory and speed were not measured."
    loads = [found["machine_load"] for found in each]
    return (
        "Prefill and decode are tokens a second of processor time on one thread (of the clock on a "
        "GPU), load is such seconds, memory is the process's peak with its libraries: medians of "
        f"{max(len(row['cost']['rounds']) for row in rows if row['cost'])} rounds over all formats "
        f"in turn, at a load of {min(loads):.1f} to {max(loads):.1f}."
    )


def _cell(row: Row, kind: str, name: str) -> str:
    """Return a value with its change and interval; bits are relative, shares are points."""
    value = row["values"][kind].get(name)
    if value is None:
        return _MISSING
    bits = kind in ("held out", "sets")
    text = f"{value:.3f}" if bits else f"{100 * value:.1f}"
    found = row["changes"].get("sets" if kind == "answers" else kind, {}).get(name)
    if found is None:
        return text
    change, low, high = (100 * found[key] for key in ("change", "low", "high"))
    return f"{text} ({change:+.1f}{' %' if bits else ''}, {low:+.1f} to {high:+.1f})"


def _near(row: Row) -> list[str]:
    made, near = row["made"], row["made"]["certificate"]
    return [
        f"{made['seconds']:.0f}",
        f"{made['peak_memory_bytes'] / 1e6:.0f}" if made["peak_memory_bytes"] else _MISSING,
        f"{near['logit_difference_max']:.2f}",
        f"{near['same_next_token']:.1%}",
        f"{near['greedy_agreement']:.1%} of {near['greedy_tokens']}",
    ]


def picture(report: Mapping[str, Any], path: Path) -> None:
    """Draw size against loss, a point for each format and a line for its interval by source."""
    rows = report["formats"][1:]
    sources = list(report["formats"][0]["values"]["held out"])
    with figure(path, height=2.4 + 0.42 * len(rows) * len(sources) / 2) as axes:
        for number, source in enumerate(sources):
            shift = (number - (len(sources) - 1) / 2) * 0.8 / len(sources)
            colour = COLOURS[number % len(COLOURS)]
            for place, row in enumerate(rows):
                if found := row["changes"]["held out"].get(source):
                    change, low, high = (100 * found[key] for key in ("change", "low", "high"))
                    axes.plot([low, high], [place + shift] * 2, color=colour, linewidth=2)
                    axes.plot(change, place + shift, "o", color=colour, markersize=6,
                              label=source if place == 0 else None)  # fmt: skip
        if report["limit"] is not None:
            axes.axvline(100 * report["limit"], color=INK, linewidth=1.2, linestyle="--")
        axes.axvline(0, color=INK, linewidth=1.2)
        names = [f"{row['name']}\n{row['bytes'] / 1e6:.0f} MB" for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_xscale("symlog", linthresh=10)
        low, high = axes.get_xlim()
        marks = [mark for mark in _MARKS if low <= mark <= high]
        axes.set_xticks(marks, [f"{mark:+d}" if mark else "0" for mark in marks])
        axes.minorticks_off()
        axes.invert_yaxis()
        axes.grid(axis="x", color=QUIET, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.set_title("Bits per byte, change from the source", loc="left", fontweight="bold")
        axes.set_xlabel("percent; line: 95 % interval, dashed: the gate")
        axes.figure.legend(frameon=False, ncols=3, loc="outside lower center")
