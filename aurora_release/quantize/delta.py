"""The delta report: what each format of a model costs and what it loses, against its source."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aurora_release import atomic, evidence, gates
from aurora_release.errors import AuroraError
from aurora_release.evaluate.compare import compare, paired_difference
from aurora_release.evaluate.redteam.steps import REPLIES
from aurora_release.quantize.certificate import weights
from aurora_release.recipe import Recipe
from aurora_release.safety.refusals import is_refusal

FOLDER = "delta"
SETS = "sets"
"""Where in that folder the evaluations on sets lie, a folder a format."""
JSON = "delta.json"
Facts = dict[str, Any]
Request = tuple[str, str, str]
"""Id, language and kind."""
_KINDS = ("harmful", "benign")


def delta(recipe: Recipe, run: Path, costs: Mapping[str, Facts | None] | None = None) -> Facts:
    """Return the report of every variant of a run that was evaluated, as JSON.

    `costs` are those of `cost.costs`. What evaluations on sets have left in the run is in it too.

    Raises:
        AuroraError: the trained model was not evaluated, or no variant was.
    """
    names = [recipe.final, *(variant.name for variant in recipe.quantize)]
    measured = {name: _evidence(run / f"evaluate-{name}") for name in names}
    if not measured[recipe.final] or not any(measured[name] for name in names[1:]):
        raise AuroraError(
            f"{run} holds no evaluated variant: name some under `quantize` of the recipe, and "
            "aurora quantize --report makes, measures and compares them."
        )
    found = {name: rows for name, rows in measured.items() if rows}
    sets = {name: _evidence(run / FOLDER / SETS / name) for name in found}
    findings = gates.check(recipe.gates, {f"evaluate-{n}": rows for n, rows in found.items()})
    refused = {name: _refused(run / f"evaluate-{name}" / REPLIES) for name in found}
    source = recipe.final
    return {
        "title": recipe.title,
        "source": source,
        "limit": recipe.gates.max_variant_rise,
        "formats": [
            {
                "name": name,
                "bytes": sum((run / name / file).stat().st_size for file in weights(run / name)),
                "made": _made(run / name) if name != source else None,
                "cost": (costs or {}).get(name),
                "values": _values(found[name], sets[name], refused[name]),
                "changes": {} if name == source else {
                    "held out": _changes(found[source], found[name], recipe.seed),
                    "sets": _changes(sets[source], sets[name], recipe.seed),
                    "refused": _refusals(refused[source], refused[name], recipe.seed),
                },
                "gate": _gate(findings, name),
            }
            for name in found
        ],
    }  # fmt: skip


def best(report: Mapping[str, Any]) -> Facts:
    """Return the format of the smallest variant that passes the gates.

    Raises:
        AuroraError: the recipe has no gate for variants, or none passes.
    """
    if report["limit"] is None:
        raise AuroraError("gates.max_variant_rise: the recipe says nothing of variants; set it.")
    variants = _by_size(report)
    for row in variants:
        if row["gate"]["passed"]:
            return row
    failed = [row["gate"]["sentence"] for row in variants]
    raise AuroraError(" ".join(["No variant passes.", *failed]))


def recommend(report: Mapping[str, Any]) -> str:
    """Return a sentence that names the smallest variant that passes the gates, and why not others.

    Raises:
        AuroraError: as `best` does.
    """
    chosen, variants, source = best(report), _by_size(report), report["formats"][0]
    passed = sum(row["gate"]["passed"] for row in variants)
    sentence = (
        f"{chosen['name']}: {chosen['bytes'] / 1e6:.0f} MB of {source['bytes'] / 1e6:.0f}, the "
        f"smallest of {passed} that pass. {chosen['gate']['sentence']}"
    )
    smaller = [row["gate"]["sentence"] for row in variants[: variants.index(chosen)]]
    return "\n".join([sentence, *(f"Not {words}" for words in smaller)])


def _by_size(report: Mapping[str, Any]) -> list[Facts]:
    return sorted(report["formats"][1:], key=lambda row: (row["bytes"], row["name"]))


def write(report: Mapping[str, Any], folder: Path) -> None:
    """Write the report as JSON, as a table and as a picture."""
    from aurora_release.quantize.delta_page import markdown, picture

    folder.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(folder / JSON, evidence.canonical(report) + b"\n")
    atomic.write_text(folder / "delta.md", markdown(report))
    picture(report, folder / "delta.png")


def _evidence(folder: Path) -> dict[str, Any]:
    path = folder / evidence.FILE
    return evidence.measured(evidence.read(path)) if path.is_file() else {}


def _made(folder: Path) -> Facts:
    """Return how a variant was made."""
    made = _evidence(folder)
    kept = ("method", "bits", "group_size", "act_order", "type", "importance", "seconds",
            "peak_memory_bytes", "calibration", "types")  # fmt: skip
    near = {key: value for key, value in made["certificate"].items() if key.startswith(
        ("logit", "same", "greedy", "tokenizer_equal"))}  # fmt: skip
    return {**{key: made[key] for key in kept if key in made}, "certificate": near}


def _values(rows: Facts, sets: Facts, refused: Mapping[Request, float]) -> Facts:
    """Return each measure of a format by what it was measured on."""
    choice, code = sets.get("choice", {}), sets.get("code", {})
    return {
        "held out": {name: row["bits_per_byte"] for name, row in rows["bits_per_byte"].items()},
        "sets": {n: row["bits_per_byte"] for n, row in sets.get("bits_per_byte", {}).items()},
        "answers": {name: row["accuracy"] for name, row in choice.items()}
        | {name: row["pass"]["pass@1"] for name, row in code.items()},
        "refused": {
            kind: sum(answers) / len(answers)
            for kind in _KINDS
            if (answers := [value for key, value in refused.items() if key[2] == kind])
        },
    }


def _changes(before: Facts, after: Facts, seed: int) -> Facts:
    """Return {set, or `all` of a language: its paired change}."""
    return {
        row.what: {"change": row.change, "low": row.low, "high": row.high, "items": row.items}
        for row in compare(before, after, seed)
        if row.measure != "accuracy per character"
    }


def _refusals(before: Mapping[Request, float], after: Mapping[Request, float], seed: int) -> Facts:
    """Return the paired change of the share of harmful and of harmless requests refused."""
    rows = {}
    for kind in _KINDS:
        both = sorted(key for key in before.keys() & after.keys() if key[2] == kind)
        if both:
            was, now = ([found[key] for key in both] for found in (before, after))
            change, low, high = paired_difference(was, now, seed)
            rows[kind] = {"change": change, "low": low, "high": high, "items": len(both)}
    return rows


def _refused(path: Path) -> dict[Request, float]:
    """Return whether each plain request was refused, by id, language and kind."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        row = json.loads(line)
        if row.get("wrapper", "plain") == "plain":
            answer = row.get("answer", row.get("reply", ""))
            refused = is_refusal(answer, row["language"])
            found[row["id"], row["language"], row["kind"]] = float(refused)
    return found


def _gate(findings: Iterable[gates.Finding], name: str) -> Facts | None:
    for finding in findings:
        if finding.rule == f"max_variant_rise.{name}":
            return {"passed": finding.passed, "sentence": finding.sentence}
    return None
