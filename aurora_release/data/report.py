"""What the corpus is and what training reads of it: counts that add up, by language and licence."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from aurora_release import atomic
from aurora_release.data.documents import REPORT
from aurora_release.data.mixture import Order, permute, repeats, unpermute
from aurora_release.data.store import Part, Store
from aurora_release.data.vocabulary import fertility
from aurora_release.errors import AuroraError
from aurora_release.evidence import canonical
from aurora_release.picture import COLOURS, QUIET, figure
from aurora_release.recipe import Recipe

JSON, PICTURE = "report.json", "report.png"


def write(recipe: Recipe, run: Path, out: Path) -> dict[str, Any]:
    """Write report.json and report.png into `out` and return the report."""
    answer = report(recipe, run)
    out.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(out / JSON, canonical(answer) + b"\n")
    picture(answer, out / PICTURE)
    return answer


def report(recipe: Recipe, run: Path) -> dict[str, Any]:
    """Return tokens by language, licence and stage, fertility, and what cleaning removed.

    The count of a stage is exact: it is that of the windows its order reads.

    Raises:
        AuroraError: there is no store, a shard of it was changed, or counts do not add up.
    """
    store = Store(run / "data")
    store.check()
    columns = {"store": {name: Counter(part.licenses) for name, part in store.parts.items()}}
    stages = {}
    for stage in recipe.train.stages:
        order = Order(recipe, stage, store.windows)
        columns[stage.name] = {
            name: read(store, order, store.parts[name]) for name in sorted(stage.mixture)
        }
        tokens = {name: count.total() for name, count in columns[stage.name].items()}
        read_tokens, room = sum(tokens.values()), order.samples * store.sequence_length
        _agree(read_tokens <= room, f"{stage.name} reads {read_tokens} of {room} tokens")
        stages[stage.name] = {
            **order.facts(),
            "tokens": read_tokens,
            "padding": room - read_tokens,
            "replay": sum(tokens.get(name, 0) for name in stage.replay) / read_tokens,
            "sources": tokens,
        }
    rows = _rows(store, columns)
    for name in columns:
        total = stages[name]["tokens"] if name in stages else store.tokens
        counted = sum(row[name] for row in rows)
        _agree(counted == total, f"{name}: {counted} tokens by licence, {total} in all")
    cleaned = json.loads((run / "clean" / REPORT).read_bytes())["sources"]
    return {
        "tokens": store.tokens,
        "documents": store.documents,
        "rows": rows,
        "stages": stages,
        "fertility": fertility(store.parts.values()),
        "removed": {name: cleaned[name].get("removed", {}) for name in store.parts},
        "masked": {name: cleaned[name].get("masked", {}) for name in store.parts},
        "heldout": {name: cleaned[name]["heldout"] for name in store.parts},
        "warnings": repeats(recipe, store.windows),
    }


def read(store: Store, order: Order, part: Part) -> Counter[str]:
    """Return the tokens that a stage reads of a source, by licence."""
    span, size = order.span(part.name), part.windows
    found: Counter[str] = Counter()
    for epoch in range(span.start // size, -(-span.stop // size)):
        first, last = max(span.start - epoch * size, 0), min(span.stop - epoch * size, size)
        if (first, last) == (0, size):
            found.update(_whole(store, part))
        else:
            found.update(_some(store, part, range(first, last), order.key(part.name, epoch)))
    return found


def _whole(store: Store, part: Part) -> Counter[str]:
    """Return what all windows of a source hold: everything, but for the ends of long pairs."""
    if part.kind == "text":
        return Counter(part.licenses)
    return _walk(store, part, range(part.windows))


def _some(store: Store, part: Part, turns: range, key: str) -> Counter[str]:
    """Return what the windows hold whose turn comes in a part of an epoch."""
    if part.kind == "pairs" or len(part.licenses) > 1:
        return _walk(store, part, (permute(turn, part.windows, key) for turn in turns))
    # all windows of a text are full but its last
    tokens = len(turns) * store.sequence_length
    if unpermute(part.windows - 1, part.windows, key) in turns:
        tokens -= store.sequence_length - store.bounds(part.name, part.windows - 1)[1]
    return Counter(dict.fromkeys(part.licenses, tokens))


def _walk(store: Store, part: Part, windows: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    for window in windows:
        for span in store.spans(part.name, window):
            found[store.license(part.name, span.document)] += span.high - span.low
    return found


def _rows(store: Store, columns: dict[str, dict[str, Counter[str]]]) -> list[dict[str, Any]]:
    """Return one row for each language and licence, with a column for the store and each stage."""
    cells: dict[tuple[str, str], Counter[str]] = {}
    for column, sources in columns.items():
        for name, licenses in sources.items():
            for license, tokens in licenses.items():
                key = store.parts[name].language, license
                cells.setdefault(key, Counter())[column] += tokens
    return [
        {"language": language, "license": license, **{name: counts[name] for name in columns}}
        for (language, license), counts in sorted(cells.items())
    ]


def _agree(right: bool, what: str) -> None:
    if not right:
        raise AuroraError(f"The counts do not add up: {what}. This is a mistake of ours; tell us.")


def tables(answer: dict[str, Any]) -> list[Any]:
    """Return a report as tables for the screen."""
    from rich.table import Table

    counts = Table("language", "licence", title="Tokens", title_justify="left")
    columns = ["store", *answer["stages"]]
    for name in columns:
        counts.add_column(name, justify="right")
    for row in answer["rows"]:
        counts.add_row(row["language"], row["license"], *(f"{row[name]:,}" for name in columns))
    totals = [answer["tokens"], *(stage["tokens"] for stage in answer["stages"].values())]
    counts.add_section()
    counts.add_row("all", "", *(f"{total:,}" for total in totals))
    paddings = [f"{stage['padding']:,}" for stage in answer["stages"].values()]
    counts.add_row("padding", "", "", *paddings)
    shares = [f"{stage['replay']:.1%}" for stage in answer["stages"].values()]
    counts.add_row("replay", "", "", *shares)
    return [counts, _fertility(answer), _cleaning(answer)]


def _fertility(answer: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("language", title="Fertility of the tokenizer", title_justify="left")
    for name in ("tokens/word", "tokens/character", "bytes/token"):
        table.add_column(name, justify="right")
    for language, row in answer["fertility"].items():
        word = row["tokens_per_word"]
        table.add_row(
            language, "–" if word is None else f"{word:.2f}",
            f"{row['tokens_per_character']:.3f}", f"{row['bytes_per_token']:.2f}",
        )  # fmt: skip
    return table


def _cleaning(answer: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("source", title="Documents left out", title_justify="left")
    reasons = sorted({reason for counts in answer["removed"].values() for reason in counts})
    for name in ("held out", *reasons):
        table.add_column(name, justify="right")
    for name, counts in answer["removed"].items():
        cells = [answer["heldout"][name], *(counts.get(reason, 0) for reason in reasons)]
        table.add_row(name, *(f"{cell:,}" for cell in cells))
    return table


def picture(answer: dict[str, Any], path: Path) -> None:
    """Draw the shares of the languages in the store and in each stage, and the fertility."""
    languages = list(dict.fromkeys(row["language"] for row in answer["rows"]))
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(languages)}
    columns = ["store", *answer["stages"]]
    with figure(path, 2.6 + 0.5 * len(columns) + 0.42 * len(answer["fertility"]), 2) as panels:
        left = [0.0] * len(columns)
        for language in languages:
            shares = [_share(answer, column, language) for column in columns]
            panels[0].barh(
                columns, shares, left=left, height=0.7, color=colours[language], label=language
            )
            left = [at + share for at, share in zip(left, shares, strict=True)]
        panels[0].set_title("Tokens by language", loc="left", fontweight="bold")
        panels[0].set_xlabel("percent")
        panels[0].figure.legend(
            frameon=False, ncols=6, loc="outside lower center", handlelength=1, columnspacing=1.2
        )
        served = list(answer["fertility"])
        values = [answer["fertility"][name]["bytes_per_token"] for name in served]
        panels[1].barh(served, values, height=0.7, color=[colours[name] for name in served])
        panels[1].bar_label(panels[1].containers[0], fmt="%.2f", padding=4, fontsize=11)
        panels[1].set_title("Bytes of text in a token", loc="left", fontweight="bold")
        for axes in panels:
            axes.invert_yaxis()
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color=QUIET, linewidth=0.8)
            axes.set_axisbelow(True)


def _share(answer: dict[str, Any], column: str, language: str) -> float:
    tokens = sum(row[column] for row in answer["rows"] if row["language"] == language)
    return 100 * float(tokens) / float(sum(row[column] for row in answer["rows"]))
