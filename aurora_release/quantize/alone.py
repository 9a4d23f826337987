"""Quantizes a model folder that belongs to no run."""

import shutil
from pathlib import Path
from typing import Any

import yaml

from aurora_release import atomic, evidence
from aurora_release.environment import environment
from aurora_release.errors import AuroraError
from aurora_release.quantize import calibrate
from aurora_release.quantize.calibrate import Calibration
from aurora_release.quantize.certificate import weights
from aurora_release.quantize.make import Variant, calibrated, check
from aurora_release.quantize.parity import read_domains
from aurora_release.quantize.stage import measure
from aurora_release.recipe import Int8, Nf4
from aurora_release.recipe import load as load_recipe
from aurora_release.shipped import shipped


def quantize(
    source: Path, out: Path, variant: Variant, calibration: str | None, runs: Path
) -> dict[str, Any]:
    """Write a variant of the model in `source` as the folder `out`, whole or not at all.

    `calibration` is a file of text or a recipe whose run in `runs` has its data. `evidence.json`
    beside the weights says what it was made from and what was measured; it is returned.

    Raises:
        AuroraError: `out` is there already, or the model, method and calibration do not fit.
    """
    if out.exists():
        raise AuroraError(f"{out} (--out) is there already: name a folder that is not.")
    check(source, variant)
    used = _calibration(source, variant, calibration, runs)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        # the shipped texts: the model's own held-out ones are not known here
        measured = measure(source, partial, variant, used, read_domains(shipped("train/corpus")))
        content = evidence.statement(
            evidence.digests(partial),
            {
                "stage": variant.name,
                "recipe": variant.model_dump(mode="json"),
                "inputs": weights(source),
                "previous": {},
                "environment": environment(),
                "measured": measured,
            },
        )
        evidence.write(partial, content)
        atomic.publish_folder(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return content


def _calibration(
    source: Path, variant: Variant, reference: str | None, runs: Path
) -> Calibration | None:
    """Return the calibration that was asked for, or None where the method needs none."""
    if not calibrated(variant):
        if reference:
            raise AuroraError(f"--calibration: {variant.method} takes none; leave it out.")
        return None
    assert not isinstance(variant, (Nf4, Int8))
    if reference is None:
        raise AuroraError(
            f"{variant.method} is calibrated on text: --calibration FILE (.jsonl or plain), or "
            "--calibration RECIPE for the mixture of its run, best of the model's own languages."
        )
    path = Path(reference).expanduser()
    if path.suffix in (".yaml", ".yml") or not path.is_file():
        used = _of_run(source, reference, runs, variant.samples)
    else:
        used = calibrate.read(path, source, variant.samples)
    used.warn(_spoken(source))
    return used


def _of_run(source: Path, reference: str, runs: Path, count: int) -> Calibration:
    """Return the mixture of a run, whose tokens must be those of `source`."""
    recipe, _ = load_recipe(reference)
    folder = runs / recipe.name
    tokenizer = folder / recipe.start / "tokenizer.json"
    if not (folder / "data").is_dir() or not tokenizer.is_file():
        raise AuroraError(
            f"{folder} (--calibration {reference}) has no data: aurora data build {reference}."
        )
    if tokenizer.read_bytes() != (source / "tokenizer.json").read_bytes():
        raise AuroraError(
            f"{folder} (--calibration {reference}) is in the tokens of another tokenizer than "
            f"{source} has: give a file of text."
        )
    return calibrate.calibration(folder / "data", recipe, count)


def _spoken(source: Path) -> frozenset[str]:
    """Return the languages that a model's card names; none where it names none."""
    card = source / "README.md"
    parts = card.read_text(encoding="utf-8").split("---\n") if card.is_file() else []
    try:
        metadata = yaml.safe_load(parts[1]) if len(parts) > 2 else {}
    except yaml.YAMLError:
        metadata = {}
    found = metadata.get("language", ()) if isinstance(metadata, dict) else ()
    return frozenset([found] if isinstance(found, str) else map(str, found))


def summary(content: dict[str, Any], out: Path) -> str:
    """Return what `quantize` wrote and measured, in lines."""
    found = evidence.measured(content)
    near = found["certificate"]
    peak = found["peak_memory_bytes"]
    return "\n".join([
        f"{out}: {found['bytes'] / 1e6:.0f} MB of {found['source_bytes'] / 1e6:.0f}, "
        f"{found['seconds']:.0f} s" + (f", {peak / 1e6:.0f} MB of memory" if peak else ""),
        f"same next token {near['same_next_token']:.1%}, greedy agreement "
        f"{near['greedy_agreement']:.1%} of {near['greedy_tokens']} tokens, largest logit "
        f"difference {near['logit_difference_max']:.2f}",
        f"tokenizer equal on {near['tokenizer_equal']} strings of "
        f"{len(near['tokenizer_strings'])} domains",
    ])  # fmt: skip
