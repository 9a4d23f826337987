"""`aurora data`: build, count and look up the corpus."""

from pathlib import Path
from typing import Annotated

import typer

from aurora_release.cli.arguments import (
    DryRun,
    Json,
    Overrides,
    RecipeName,
    Runs,
    complete_stage,
)

data = typer.Typer(help="The corpus, and what training reads of it.", no_args_is_help=True)


@data.command()
def build(
    recipe: RecipeName,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Clean the sources of RECIPE and write its token store; the base model comes first."""
    from aurora_release import chain

    chain.run(recipe, tuple(overrides or ()), runs, "data", (), dry_run, as_json)


@data.command()
def which(
    recipe: RecipeName,
    step: Annotated[int, typer.Option(help="Optimizer step, from 1 as in the log.")],
    overrides: Overrides = None,
    stage: Annotated[
        str | None, typer.Option(help="Training stage; the first.", autocompletion=complete_stage)
    ] = None,
    rank: Annotated[int, typer.Option(help="Only what this rank reads ...")] = 0,
    ranks: Annotated[int, typer.Option(min=1, help="... of so many.")] = 1,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """List the documents a step of training reads, with language, licence and replay share."""
    from aurora_release import recipe as recipes
    from aurora_release.data.which import lines
    from aurora_release.data.which import which as find
    from aurora_release.evidence import canonical

    found, _ = recipes.load(recipe, tuple(overrides or ()))
    answer = find(found, runs / found.name, step, stage, rank, ranks)
    typer.echo(canonical(answer).decode() if as_json else "\n".join(lines(answer)))


@data.command()
def report(
    recipe: RecipeName,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    out: Annotated[Path | None, typer.Option(help="Folder to write; `report` in the run.")] = None,
    as_json: Json = False,
) -> None:
    """Count the corpus by language, licence and stage; print tables, write JSON and a picture."""
    from rich.console import Console

    from aurora_release import recipe as recipes
    from aurora_release.data import report as reports
    from aurora_release.evidence import canonical

    found, _ = recipes.load(recipe, tuple(overrides or ()))
    folder = out or runs / found.name / "report"
    answer = reports.write(found, runs / found.name, folder)
    if as_json:
        typer.echo(canonical(answer).decode())
        return
    Console().print(*reports.tables(answer), sep="\n\n")
    for warning in answer["warnings"]:
        typer.echo(f"warning: {warning}")
    typer.echo(f"written to {folder / reports.JSON} and {folder / reports.PICTURE}")
