"""The `aurora` command: one short function a verb; everything heavy is imported inside."""

import errno
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from aurora_release import __version__
from aurora_release.cli import release
from aurora_release.cli.arguments import DryRun, Overrides, RecipeName, Runs
from aurora_release.cli.chat import chat
from aurora_release.cli.data import data
from aurora_release.cli.evaluate import evaluate
from aurora_release.cli.quantize import quantize
from aurora_release.cli.safety import safety
from aurora_release.cli.serve import serve
from aurora_release.errors import AuroraError, Interrupted

app = typer.Typer(
    help="One recipe from a base model to a served, measured and verifiable release.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

app.add_typer(safety, name="safety")
app.add_typer(data, name="data")
app.command()(evaluate)
app.command()(quantize)
app.add_typer(release.keys, name="keys")

Launcher = Literal["none", "torchrun", "deepspeed", "slurm"]


@app.command()
def run(
    recipe: RecipeName,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    redo: Annotated[list[str] | None, typer.Option(help="Do this stage again.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Make every stage of RECIPE true, from the base model to the release."""
    from aurora_release import chain

    chain.run(recipe, tuple(overrides or ()), runs, until, tuple(redo or ()), dry_run)


@app.command()
def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    stage: Annotated[str | None, typer.Option(help="The last stage to train.")] = None,
    launch: Annotated[Launcher, typer.Option(help="What starts the ranks.")] = "none",
    ranks: Annotated[int, typer.Option(min=1, help="Processes that train together.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines they run on.")] = 1,
    hostfile: Annotated[Path | None, typer.Option(help="DeepSpeed's list of machines.")] = None,
    runs: Runs = Path("runs"),
    dry_run: DryRun = False,
) -> None:
    """Train the stages of RECIPE, on one process or many; the same command goes on."""
    from aurora_release import chain
    from aurora_release.train.launch.launcher import Launch

    how = Launch(launch, ranks, nodes, hostfile)
    chain.train(recipe, tuple(overrides or ()), runs, stage, how, dry_run)


@app.command()
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
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Say what training RECIPE would take: tokens, operations, memory, days, energy."""
    from aurora_release import chain

    names, on = tuple(overrides or ()), tuple(hardware or ())
    typer.echo(chain.estimate(recipe, names, runs, on, (mfu, pue, grid), out, as_json))


@app.command()
def tune(
    recipe: RecipeName,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    dry_run: DryRun = False,
) -> None:
    """Make RECIPE true up to preference tuning on reviewed pairs."""
    from aurora_release import chain

    chain.tune(recipe, tuple(overrides or ()), runs, dry_run)


@app.command()
def demo(runs: Runs = Path("runs")) -> None:
    """Run the demo recipe, verify its release, serve it and ask it three things."""
    from aurora_release import chain

    chain.demo(runs)


app.command()(release.verify)
app.command()(release.sign)
app.command()(release.card)
app.command()(release.publish)
app.command()(release.diff)
app.command()(serve)
app.command()(chat)


@app.command()
def recipes() -> None:
    """List the shipped recipes."""
    from aurora_release.shipped import shipped_names

    for name in shipped_names("train/recipes", ".yaml"):
        typer.echo(name)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aurora-release {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    from aurora_release import log

    log.configure(verbose)


def main() -> None:
    """Run the command; a mistake a person can mend is one message and exit code 2."""
    try:
        app()
    except Interrupted as stopped:
        _fail(str(stopped), 130)
    except KeyboardInterrupt:
        _fail("stopped; the same command goes on from the last finished stage.", 130)
    except AuroraError as error:
        _fail(str(error), 2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES):
            raise
        where = error.filename or os.getcwd()
        _fail(
            f"{where}: {error.strerror}. Make room or choose another folder, then run the same "
            "command again; finished stages stay.",
            2,
        )


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"aurora: {message}\n")
    sys.exit(code)
