"""Verbs over a whole recipe: `aurora run`, `train`, `tune` and `estimate`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from aurora_release.cli.arguments import (
    DryRun,
    Json,
    Overrides,
    RecipeName,
    Runs,
    complete_stage,
)

Launcher = Literal["none", "torchrun", "deepspeed", "slurm"]


def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    until: Annotated[
        str | None, typer.Option(help="Stop after this stage.", autocompletion=complete_stage)
    ] = None,
    redo: Annotated[
        list[str] | None,
        typer.Option(help="Do this stage again.", autocompletion=complete_stage),
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make every stage of RECIPE true, from the base model to the release."""
    from aurora_release import chain

    again = tuple(redo or ())
    made = chain.run(recipe, tuple(overrides or ()), runs, until, again, dry_run, as_json)
    if until in (None, "release") and not (dry_run or as_json):
        chain.offer(made / "release")


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    stage: Annotated[
        str | None, typer.Option(help="The last stage to train.", autocompletion=complete_stage)
    ] = None,
    launch: Annotated[Launcher, typer.Option(help="What starts the ranks.")] = "none",
    ranks: Annotated[int, typer.Option(min=1, help="Processes that train together.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines they run on.")] = 1,
    hostfile: Annotated[Path | None, typer.Option(help="DeepSpeed's list of machines.")] = None,
    runs: Runs = Path("runs"),
    dry_run: DryRun = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
) -> None:
    """Train the stages of RECIPE, on one process or many; the same command goes on."""
    from aurora_release import chain
    from aurora_release.train.launch.launcher import Launch

    how = Launch(launch, ranks, nodes, hostfile)
    chain.train(recipe, tuple(overrides or ()), runs, stage, how, dry_run, as_json)


def estimate(
    recipe: RecipeName,
    overrides: Overrides = None,
    hardware: Annotated[
        list[str] | None, typer.Option(help="NAME:COUNT, as in h100:256, in place of the recipe's.")
    ] = None,
    mfu: Annotated[float | None, typer.Option(min=0.01, max=1, help="Share of the peak.")] = None,
    pue: Annotated[float, typer.Option(min=1, help="Facility energy over machine energy.")] = 1.2,
    grid: Annotated[float | None, typer.Option(min=0, help="kg CO2e for a kWh.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for it and the learning rate.")] = None,
    as_json: Json = False,
    runs: Runs = Path("runs"),
) -> None:
    """Say what training RECIPE would take: tokens, operations, memory, days, energy."""
    from aurora_release import chain

    names, on = tuple(overrides or ()), tuple(hardware or ())
    typer.echo(chain.estimate(recipe, names, runs, on, (mfu, pue, grid), out, as_json))


def tune(
    recipe: RecipeName,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make RECIPE true up to preference tuning on reviewed pairs."""
    from aurora_release import chain

    chain.tune(recipe, tuple(overrides or ()), runs, dry_run, as_json)
