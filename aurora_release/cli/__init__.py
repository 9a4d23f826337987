"""The `aurora` command: one short function a verb; everything heavy is imported inside."""

import sys
from typing import Annotated

import typer

from aurora_release import __version__
from aurora_release.cli import begin, make, release
from aurora_release.cli.chat import chat
from aurora_release.cli.commands import BEGIN, EPILOG, JUDGE, MAKE, RELEASE, USE, Commands
from aurora_release.cli.data import data
from aurora_release.cli.evaluate import evaluate
from aurora_release.cli.init import init
from aurora_release.cli.quantize import quantize
from aurora_release.cli.safety import safety
from aurora_release.cli.serve import serve
from aurora_release.errors import AuroraError, Interrupted, cannot_write, missing_extra

app = typer.Typer(
    cls=Commands,
    help="One recipe from a base model to a served, measured and verifiable release.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

for panel, verbs in (
    (BEGIN, (begin.demo, begin.doctor, init, begin.recipes)),
    (MAKE, (make.run, make.train, make.tune, make.estimate)),
    (JUDGE, (evaluate, quantize)),
    (USE, (serve, chat)),
    (
        RELEASE,
        (release.verify, release.card, release.report, release.diff, release.sign, release.publish),
    ),
):
    for verb in verbs:
        app.command(rich_help_panel=panel)(verb)
app.add_typer(data, name="data", rich_help_panel=MAKE)
app.add_typer(safety, name="safety", rich_help_panel=JUDGE)
app.add_typer(release.keys, name="keys", rich_help_panel=RELEASE)


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


def _verbose_first(words: list[str]) -> list[str]:
    """Return the words of a command with `-v`, an option of aurora itself, where typer reads it."""
    end = words.index("--") if "--" in words else len(words)
    own = [word for word in words[:end] if word in ("-v", "--verbose")]
    return [*own[:1], *(word for word in words[:end] if word not in own), *words[end:]]


_GO_ON = [[verb] for verb in ("run", "train", "tune", "demo", "data")]
"""Commands that do not begin anew."""


def main() -> None:
    """Run the command; a mistake a person can mend is one message and exit code 2."""
    try:
        app(_verbose_first(sys.argv[1:]))
    except SystemExit as end:
        # typer makes one of Ctrl-C, and says nothing
        if end.code == Interrupted.exit_code:
            again = " The same command goes on where it was." if sys.argv[1:2] in _GO_ON else ""
            _fail(f"stopped.{again}", end.code)
        raise
    except AuroraError as error:
        _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "aurora_release"):
            raise
        _fail(str(missing_extra(package, "all")), AuroraError.exit_code)
    except Exception as error:
        unwritten = cannot_write(error)
        if unwritten is None:
            raise
        _fail(
            f"{unwritten}. Make room or choose another folder, then run the same command again; "
            "finished stages stay.",
            AuroraError.exit_code,
        )


def _fail(message: str, code: int) -> None:
    from aurora_release.parse import shown

    sys.stderr.write(f"aurora: {shown(message)}\n")
    sys.exit(code)
