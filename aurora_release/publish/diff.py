"""What changed from one release to another: data, recipe, metrics, safety, files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aurora_release import evidence, parse
from aurora_release.card import chain as chains
from aurora_release.card import sums, training
from aurora_release.card.chain import Chain, at
from aurora_release.evaluate.compare import paired_change
from aurora_release.evaluate.redteam.evaluation import by_language
from aurora_release.evaluate.table import documents

Change = dict[str, Any]

_MEASURES = ("attack_success", "over_refusal")


@chains.readable()
def diff(before: Path, after: Path) -> Change:
    """Return what changed, as their evidence says; nothing is verified here.

    Raises:
        AuroraError: one of them is no release.
    """
    old, new = chains.read(before), chains.read(after)
    return {
        "releases": [_digest(before), _digest(after)],
        "recipe": _changed(_flat(_recipe(old)), _flat(_recipe(new))),
        "data": _data(old, new),
        "software": _changed(_software(old), _software(new)),
        "metrics": list(_metrics(old, new)),
        "safety": list(_safety(old, new)),
        "files": _changed(sums.read(before), sums.read(after)),
    }


def _digest(folder: Path) -> str:
    """Return the digest of a release's list of files, which is the release's own."""
    sums.read(folder)
    return evidence.sha256_file(folder / sums.FILE)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return {key: [before, after]} where they differ; None where there was nothing."""
    names = dict.fromkeys([*old, *new])
    return {
        name: [old.get(name), new.get(name)] for name in names if old.get(name) != new.get(name)
    }


def _recipe(chain: Chain) -> dict[str, Any]:
    return chain.recipe.model_dump(mode="json")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key; parts of a list go by their name where they have one."""
    if isinstance(value, Mapping) and value:
        items = list(value.items())
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        items = [(each.get("name") or str(place), each) for place, each in enumerate(value)]
    else:
        return {prefix: value}
    return {
        key: found
        for name, each in items
        for key, found in _flat(each, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def _data(old: Chain, new: Chain) -> dict[str, list[Any]]:
    """Return {source.key: [before, after]} of what each source holds and how often it was read."""
    rows = [{row["name"]: row for row in training.sources(chain)} for chain in (old, new)]
    return _changed(*(_flat(each) for each in rows))


def _software(chain: Chain) -> dict[str, Any]:
    return at(chain, chain.final, "environment", "packages") or {}


def _models(chain: Chain) -> dict[str, str]:
    """Return the stage of each model that both releases may have, by what it is."""
    return {"base": "base", "trained": chain.final, **{name: name for name in chain.variants}}


def _measured(old: Chain, new: Chain, part: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield what was measured of each model that both releases have."""
    ours, theirs = _models(old), _models(new)
    for model in ours:
        if model in theirs:
            yield (
                model,
                at(old, f"evaluate-{ours[model]}", "measured", part) or {},
                at(new, f"evaluate-{theirs[model]}", "measured", part) or {},
            )


def _metrics(old: Chain, new: Chain) -> Iterator[Change]:
    """Yield bits per byte that changed, with a 95 % interval where the documents are the same."""
    for model, ours, theirs in _measured(old, new, "bits_per_byte"):
        for source in dict.fromkeys([*ours, *theirs]):
            one, two = ours.get(source), theirs.get(source)
            if one == two:
                continue
            found: Change = {
                "model": model, "source": source, "measure": "bits per byte",
                "before": one and one["bits_per_byte"], "after": two and two["bits_per_byte"],
                "change": None, "interval": None,
            }  # fmt: skip
            if one and two:
                found["change"] = two["bits_per_byte"] / one["bits_per_byte"] - 1
                if one["per_document"]["bytes"] == two["per_document"]["bytes"]:
                    interval = paired_change(documents(one), documents(two), 0)[1:]
                    found["interval"] = list(interval)
            yield found


def _safety(old: Chain, new: Chain) -> Iterator[Change]:
    """Yield rates that changed, each with the 95 % interval of its own."""
    for model, ours, theirs in _measured(old, new, "safety"):
        one, two = (by_language(each) if "cells" in each else {} for each in (ours, theirs))
        for language in dict.fromkeys([*one, *two]):
            for measure in _MEASURES:
                before = one.get(language, {}).get(measure)
                after = two.get(language, {}).get(measure)
                if before != after:
                    yield {"model": model, "language": language, "measure": measure,
                           "before": before, "after": after}  # fmt: skip


def text(found: Change) -> str:
    """Return what changed as lines for a person."""
    if found["releases"][0] == found["releases"][1]:
        return (
            f"The same release: both have the same {sums.FILE}. "
            "Whether their files are the listed ones, `aurora verify` says."
        )
    parts = [
        ("recipe", _pairs(found["recipe"])),
        ("data", _pairs(found["data"])),
        ("software", _pairs(found["software"])),
        ("metrics", [_metric(row) for row in found["metrics"]]),
        ("safety", [_rates(row) for row in found["safety"]]),
        ("files", [_file(name, *pair) for name, pair in found["files"].items()]),
    ]
    return "\n\n".join(
        "\n".join([title, *(f"  {parse.shown_line(line)}" for line in lines or ["no change"])])
        for title, lines in parts
    )


def _pairs(changes: Mapping[str, Sequence[Any]]) -> list[str]:
    return [f"{key}: {_said(old)} -> {_said(new)}" for key, (old, new) in changes.items()]


def _said(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _metric(row: Change) -> str:
    values = " -> ".join(
        "not measured" if row[key] is None else f"{row[key]:.3f}" for key in ("before", "after")
    )
    said = f"{row['model']}, {row['source']}: {row['measure']} {values}"
    if row["change"] is None:
        return said
    said += f", {100 * row['change']:+.1f} %"
    if row["interval"] is None:
        return f"{said} (on other documents: no interval)"
    low, high = (100 * end for end in row["interval"])
    return f"{said} [{low:+.1f}, {high:+.1f}]"


def _rates(row: Change) -> str:
    old, new = (_rate(row[key]) for key in ("before", "after"))
    measure = row["measure"].replace("_", " ")
    return f"{row['model']}, {row['language']}: {measure} {old} -> {new}"


def _rate(rate: Mapping[str, Any] | None) -> str:
    if not rate:
        return "not measured"
    ends = f"{100 * rate['low']:.0f}-{100 * rate['high']:.0f} %"
    return f"{rate['count']} of {rate['of']} ({ends})"


def _file(name: str, old: str | None, new: str | None) -> str:
    return f"{'added' if old is None else 'removed' if new is None else 'changed'}  {name}"
