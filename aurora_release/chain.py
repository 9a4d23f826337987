"""What the commands over a whole recipe do, and what they print."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from aurora_release import atomic, evidence, licences, parse
from aurora_release import recipe as recipes
from aurora_release.errors import AuroraError, meant
from aurora_release.log import nothing_on_stdout
from aurora_release.plan import plan
from aurora_release.recipe import Recipe
from aurora_release.run import Stage
from aurora_release.run import run as run_stages

if TYPE_CHECKING:
    from aurora_release.train.launch.launcher import Launch

log = logging.getLogger(__name__)


def run(
    reference: str,
    overrides: tuple[str, ...] = (),
    runs: Path = Path("runs"),
    until: str | None = None,
    redo: tuple[str, ...] = (),
    dry_run: bool = False,
    as_json: bool = False,
) -> Path:
    """Run a recipe, print its results and return its run folder; a dry run prints the plan."""
    recipe, beside = recipes.load(reference, overrides)
    stages = _until(plan(recipe, beside), until)
    _known(redo, stages)
    folder = runs / recipe.name
    if dry_run:
        typer.echo(describe(recipe, beside, stages, folder, as_json=as_json))
        return folder
    if any(stage.name == "release" for stage in stages):
        for sentence in licences.unpublishable(recipe, beside):
            log.warning("%s", sentence)
    run_stages(recipe, beside, stages, folder, frozenset(redo))
    typer.echo(results(stages, folder, as_json))
    return folder


def offer(release: Path) -> None:
    """Print where a release lies and what is usually done with it."""
    key = "" if Path("release.key").exists() else "aurora keys new release.key; "
    typer.echo(
        f"\nRelease        {release}   (its card: {release / 'README.md'})\n"
        f"Check it       aurora verify {release}\n"
        f"Chat with it   aurora serve {release}   then open http://127.0.0.1:8000/chat\n"
        f"Sign it        {key}aurora sign {release} --key release.key\n"
        f"Publish it     aurora publish {release} --to org/name --dry-run\n"
    )


def train(
    reference: str,
    overrides: tuple[str, ...],
    runs: Path,
    name: str | None,
    launch: "Launch",
    dry_run: bool = False,
    as_json: bool = False,
) -> Path:
    """Do the training stages of a recipe, up to `name`, and what they need; evaluate nothing.

    Raises:
        AuroraError: `--launch slurm` outside an allocation; a batch file was written. Or JSON is
            wanted of training itself, which prints nothing.
    """
    from aurora_release.train.launch.launcher import require_divisible

    if as_json and not dry_run:
        raise AuroraError("--json prints the plan of --dry-run; training itself prints nothing.")
    recipe, beside = recipes.load(reference, overrides)
    require_divisible(recipe.train, launch.ranks)
    name = name or recipe.train.stages[-1].name
    stages = _needed(plan(recipe, beside, launch), (name,))
    folder = runs / recipe.name
    if dry_run:
        typer.echo(describe(recipe, beside, stages, folder, launch.ranks, as_json))
        return folder
    if launch.how == "slurm" and "SLURM_JOB_ID" not in os.environ:
        from aurora_release.train.launch.slurm import write

        typer.echo(write(folder, launch, [reference, *overrides, "--runs", str(runs)], name))
        return folder
    run_stages(recipe, beside, stages, folder)
    return folder


def tune(
    reference: str, overrides: tuple[str, ...], runs: Path, dry_run: bool, as_json: bool = False
) -> Path:
    """Run a recipe up to preference tuning and return its run folder.

    Raises:
        AuroraError: the recipe has no `tune`.
    """
    recipe, _ = recipes.load(reference, overrides)
    if recipe.tune is None:
        raise AuroraError(
            f"{reference} has no `tune`: add it, at least with the file of pairs, as in "
            f'aurora tune {reference} "tune={{path: pairs.jsonl}}".'
        )
    return run(reference, overrides, runs, recipe.tune.name, (), dry_run, as_json)


def formats(
    reference: str,
    overrides: tuple[str, ...],
    runs: Path,
    out: Path | None,
    sets: tuple[Path, ...] = (),
    limit: int | None = None,
    again: bool = False,
) -> Path:
    """Make and evaluate every variant of a recipe, write the delta report, and return its folder.

    `sets` are measured beside what the recipe evaluates; `again` times each format anew.

    Raises:
        AuroraError: the recipe has no variants.
    """
    from aurora_release.evaluate import whole
    from aurora_release.evaluate.measure import Settings
    from aurora_release.quantize import cost, delta

    recipe, beside = recipes.load(reference, overrides)
    if not recipe.quantize:
        raise AuroraError(f"{reference} has no `quantize`: name the variants to compare.")
    made, kept = runs / recipe.name, runs / recipe.name / delta.FOLDER
    models = {name: made / name for name in (recipe.final, *(v.name for v in recipe.quantize))}
    evaluations = [f"evaluate-{name}" for name in models]
    run_stages(recipe, beside, _needed(plan(recipe, beside), evaluations), made)
    if sets:
        source, *variants = (f"{name}={folder}" for name, folder in models.items())
        how = Settings(context=recipe.evaluate.context)
        with nothing_on_stdout():
            whole.evaluate(variants, source, sets, kept / delta.SETS, how, limit)
    report = delta.delta(recipe, made, cost.costs(models, kept, again))
    delta.write(report, out or kept)
    return out or kept


def recommend(reference: str, overrides: tuple[str, ...], runs: Path, as_json: bool = False) -> str:
    """Return which evaluated variant of a run is the smallest that passes its gates."""
    from aurora_release.quantize import delta

    recipe, _ = recipes.load(reference, overrides)
    report = delta.delta(recipe, runs / recipe.name)
    if as_json:
        best = {"recommended": delta.best(report)["name"], "formats": report["formats"]}
        return evidence.canonical(best).decode()
    return delta.recommend(report)


def demo(runs: Path) -> None:
    """Run the demo recipe, verify the release, and ask the served model three things."""
    from aurora_release.serve.tour import tour

    folder = run("demo", runs=runs) / "release"
    verify(str(folder))
    tour(folder)
    offer(folder)


def verify(reference: str, key: Path | None = None, as_json: bool = False) -> None:
    """Print what was checked in a release, a folder or a Hub id, which is fetched first.

    `key` is the public key that must have signed it.

    Raises:
        AuroraError: something does not hold; the message names the files.
    """
    from aurora_release import download
    from aurora_release.card.verify import verify as check

    folder = download.release(reference)
    report = check(folder, key)
    if as_json:
        checks = [asdict(finding) for finding in report.checks]
        content = {"release": str(folder), "passed": report.passed, "checks": checks}
        typer.echo(evidence.canonical(content).decode())
    else:
        marks = {True: "ok  ", False: "FAIL", None: "--  "}
        for finding in report.checks:
            said = parse.shown_line(finding.sentence)
            typer.echo(f"{marks[finding.passed]}  {finding.name}: {said}")
    failed = [finding for finding in report.checks if finding.passed is False]
    if failed:
        edited = any(".md was changed" in finding.sentence for finding in failed)
        where = f" `aurora card {folder} --check` says where a page was edited." if edited else ""
        said = f"see {', '.join(finding.name for finding in failed)} above."
        if as_json:
            said = parse.shown_line(" ".join(finding.sentence for finding in failed))
        raise AuroraError(f"{folder} does not verify: {said}{where}")
    if not as_json:
        signed = report.checks[-1].passed
        typer.echo(f"{folder} verifies{'.' if signed else '; who made it was not checked.'}")


def diff(before: str, after: str, as_json: bool) -> str:
    """Return what changed between two releases, each a folder or a Hub id."""
    from aurora_release import download
    from aurora_release.publish import diff as differ

    found = differ.diff(download.release(before), download.release(after))
    return evidence.canonical(found).decode() if as_json else differ.text(found)


def report(folder: Path, out: Path, reference: str | None, overrides: tuple[str, ...] = ()) -> Path:
    """Write the report of a finished run or a release; of a run under way with its recipe.

    Raises:
        AuroraError: there is no evidence, or a stage was made from another recipe.
    """
    from aurora_release.card.report import found
    from aurora_release.card.report.report import write

    if reference is None:
        if overrides:
            raise AuroraError(f"{' '.join(overrides)} changes a recipe: name it with --recipe.")
        write(found.finished(folder), out)
        return out
    recipe, beside = recipes.load(reference, overrides)
    stages = plan(recipe, beside)
    for stage in stages:
        path = folder / stage.name / evidence.FILE
        if path.is_file() and stage.name != "release":
            made_from = evidence.read(path)["predicate"].get("recipe")
            if made_from != evidence.plain(stage.decides):
                raise AuroraError(
                    f"{folder / stage.name} was made from another recipe than {reference}: name "
                    "the recipe and the keys that the run was started with."
                )
    write(found.under_way(folder, recipe, [stage.name for stage in stages]), out)
    return out


def describe(
    recipe: Recipe,
    beside: Path,
    stages: list[Stage],
    folder: Path,
    ranks: int = 1,
    as_json: bool = False,
) -> str:
    """Return what a run would do and cost; nothing is loaded and no network is used."""
    from aurora_release.train.estimate.cost import estimate
    from aurora_release.train.estimate.machines import machines
    from aurora_release.train.estimate.text import text

    on = [machines(name) for name in recipe.train.hardware]
    found = estimate(recipe, beside, folder, on, ranks)
    if as_json:
        order = [{"name": stage.name, "after": stage.after} for stage in stages]
        content = {"title": recipe.title, "base": recipe.model.base, "folder": str(folder)}
        return json.dumps({**content, "stages": order, "estimate": found})
    lines = [f"{recipe.title}, from {recipe.model.base}, into {folder}", ""]
    lines += [f"  {stage.name:<18} after {', '.join(stage.after) or 'nothing'}" for stage in stages]
    if recipe.tune:
        pairs = recipe.tune.path or f"twins in {', '.join(recipe.tune.twins)}"
        lines += ["", f"  {recipe.tune.name}: direct preference optimisation on the pairs of "
                  f"{pairs}, batches of {recipe.tune.global_batch}, learning rate "
                  f"{recipe.tune.learning_rate:g}"]  # fmt: skip
    return "\n".join([*lines, "", text(found)])


def estimate(
    reference: str,
    overrides: tuple[str, ...],
    runs: Path,
    hardware: tuple[str, ...],
    assumed: tuple[float | None, float, float | None],
    out: Path | None,
    as_json: bool,
) -> str:
    """Return what training would cost; with `out`, write it there with the learning rate drawn.

    `hardware` takes the place of the recipe's; `assumed` are MFU, PUE and kg CO2e for a kWh.
    """
    from aurora_release.train.estimate.cost import estimate as find
    from aurora_release.train.estimate.machines import machines
    from aurora_release.train.estimate.text import learning_rate, text

    recipe, beside = recipes.load(reference, overrides)
    on = [machines(name) for name in hardware or recipe.train.hardware]
    found = find(recipe, beside, runs / recipe.name, on, 1, *assumed)
    machine, person = json.dumps(found, indent=1), text(found)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        atomic.write_text(out / "estimate.json", machine + "\n")
        atomic.write_text(out / "estimate.txt", person + "\n")
        learning_rate(found["stages"], out / "lr.png")
    return machine if as_json else person


def results(stages: list[Stage], folder: Path, as_json: bool = False) -> str:
    """Return the before/after table of the evaluations that have been done."""
    from aurora_release.evaluate.table import facts, table

    measured = {
        stage.name: evidence.measured(evidence.read(folder / stage.name / evidence.FILE))
        for stage in stages
        if stage.name.startswith("evaluate-")
    }
    if as_json:
        content = {"folder": str(folder), "models": facts(measured)}
        return evidence.canonical(content).decode()
    return table(measured) if measured else ""


def _needed(stages: list[Stage], names: Sequence[str]) -> list[Stage]:
    """Return stages and those they are made from, in order."""
    _known(names, stages)
    needed = set(names)
    for stage in reversed(stages):
        if stage.name in needed:
            needed |= set(stage.after)
    return [stage for stage in stages if stage.name in needed]


def _until(stages: list[Stage], name: str | None) -> list[Stage]:
    if name is None:
        return stages
    _known((name,), stages)
    last = next(index for index, stage in enumerate(stages) if stage.name == name)
    return stages[: last + 1]


def _known(names: Sequence[str], stages: list[Stage]) -> None:
    known = [stage.name for stage in stages]
    for name in names:
        if name not in known:
            raise AuroraError(
                f"{name} is not a stage of this recipe; they are {', '.join(known)}."
                + meant(name, known)
            )
