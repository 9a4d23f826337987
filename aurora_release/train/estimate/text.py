"""Tells an estimate to a person: a page of text, and a picture of the learning rate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aurora_release.picture import COLOURS, QUIET, figure
from aurora_release.train.estimate.cost import SIZES


def text(found: Mapping[str, Any]) -> str:
    """Return an estimate as a page of text."""
    lines = [
        f"{_short(found['tokens'])} tokens in {found['steps']:,} steps of "
        f"{found['global_batch']:,} x {found['sequence_length']:,}",
        *(line for stage in found["stages"] for line in _stage(stage)),
        "",
        *_mixture(found),
        *(f"warning: {warning}" for warning in found["warnings"]),
        "",
    ]
    if found["model"] is None:
        return "\n".join([*lines, f"operations, memory and time: {found['model_from']}"])
    lines += _operations(found)
    for table in found["memory"]:
        lines += ["", *_memory(table)]
    for machine in found["machines"]:
        lines += ["", *_machine(machine)]
    return "\n".join(lines)


def learning_rate(stages: list[dict[str, Any]], path: Path) -> None:
    """Draw the learning rate of the training stages, one after the other."""
    with figure(path, height=4.0) as axes:
        first = 0
        for number, stage in enumerate(stages):
            steps = [first + step for step, _ in stage["learning_rate"]]
            rates = [rate for _, rate in stage["learning_rate"]]
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(steps, rates, color=colour, linewidth=3, label=stage["name"])
            first += stage["steps"]
        axes.set_title("Learning rate", loc="left", fontweight="bold")
        axes.set_xlabel("optimizer step")
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color=QUIET, linewidth=0.8)
        axes.legend(frameon=False, loc="upper right")


def _stage(stage: Mapping[str, Any]) -> list[str]:
    rates = ", ".join(f"{rate:.2e} at {step:,}" for step, rate in stage["corners"])
    return [
        f"  {stage['name']}: {stage['tokens']:,} tokens in {stage['steps']:,} steps; "
        f"learning rate ({stage['schedule']}) {rates}"
    ]


def _mixture(found: Mapping[str, Any]) -> list[str]:
    stages = found["stages"]
    head = "".join(f"{stage['name'][:8]:>9}" for stage in stages)
    lines = [f"  {'mixture':<22}{head}{'read':>9}{'corpus':>9}{'epochs':>8}"]
    for name, source in found["sources"].items():
        shares = "".join(_share(stage, name) for stage in stages)
        corpus = _short(source["corpus_tokens"]) if source["corpus_tokens"] else "?"
        epochs = f"{source['epochs']:.2f}" if source["epochs"] is not None else "?"
        lines.append(f"  {name:<22}{shares}{_short(source['tokens']):>9}{corpus:>9}{epochs:>8}")
    lines.append("  r: replay of what the base model knows")
    if any(source["corpus_tokens"] is None for source in found["sources"].values()):
        lines.append("  ?: not known before the data stage (--until data)")
    return lines


def _share(stage: Mapping[str, Any], name: str) -> str:
    if name not in stage["mixture"]:
        return f"{'-':>9}"
    share = f"{stage['mixture'][name]:.1%}"
    return f"{share + ('r' if name in stage['replay'] else ' '):>9}"


def _operations(found: Mapping[str, Any]) -> list[str]:
    flops, model = found["flops"], found["model"]
    return [
        f"{model['type']} of {_short(model['parameters'])} parameters ({found['model_from']})",
        f"  {flops['six_n']:.2e} FLOPs by 6ND, {flops['exact']:.2e} counted by matrix and "
        "attention, without recomputation",
        f"  {flops['six_n_per_token']:.2e} and {flops['exact_per_token']:.2e} a token",
    ]


def _memory(table: Mapping[str, Any]) -> list[str]:
    """Return the table of a number of ranks, and what the recipe's own choice is made of."""
    rows = table["rows"]
    unit, size = ("GiB", 2**30) if rows[0]["total"] >= 2**30 else ("MiB", 2**20)
    ranks = f"{table['ranks']} rank" + ("s" if table["ranks"] > 1 else "")
    lines = [
        f"memory of a rank in {unit} ({ranks}, {table['precision']}, micro-batch "
        f"{table['micro_batch']}), and the devices of {' '.join(map(str, SIZES))} GiB it fits",
        f"  {'':<16}{'activations kept':<30}recomputed",
    ]
    for kept, again in zip(rows[::2], rows[1::2], strict=True):
        name = f"ZeRO {kept['zero']}" + (" offload" if kept["offload"] else "")
        host = f"  + {kept['host'] / size:,.1f} of the host's" if kept["offload"] else ""
        lines.append(f"  {name:<16}{_total(kept, size):<30}{_total(again, size)}{host}".rstrip())
    chosen, logits = table["chosen"], table["logits"]
    parts = ", ".join(f"{name} {chosen[name] / size:,.1f}" for name in _PARTS)
    again = "recomputed" if chosen["checkpointing"] else "kept"
    return [
        *lines,
        f"  this recipe (ZeRO {chosen['zero']}, activations {again}): {parts}",
        f"  logits {logits['whole'] / size:,.2f} whole, {logits['chunked'] / size:,.2f} with "
        f"loss_chunk {logits['chunk']:,}",
    ]


_PARTS = ("parameters", "optimizer", "gradients", "activations", "logits", "buffers")


def _total(row: Mapping[str, Any], size: int) -> str:
    fits = " ".join(str(device) for device in row["fits"])
    return f"{row['total'] / size:8,.1f}  {fits or 'none'}"


def _machine(machine: Mapping[str, Any]) -> list[str]:
    days = machine["days"]
    time = f"{days:,.1f} days" if days >= 2 else f"{days * 1440:,.1f} minutes"
    lines = [
        f"{machine['count']} x {machine['name']}: {time} at {machine['mfu']:.0%} of "
        f"{machine['peak_flops'] / 1e12:,.1f} TFLOP/s ({machine['mfu_source']})"
    ]
    if machine["kilowatt_hours"] is not None:
        carbon = machine["kilograms_co2"]
        more = "" if carbon is None else f", {carbon:,.0f} kg CO2e"
        lines.append(
            f"  {machine['kilowatt_hours']:,.0f} kWh{more} ({machine['watts']} W a device by data "
            f"sheet, PUE {machine['pue']:g}; hosts, network and storage not counted)"
        )
    return lines


def _short(number: float) -> str:
    """Return a count with three figures and a letter."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.{0 if number >= 100 * size else 1}f}{unit}"
    return f"{number:.0f}"
