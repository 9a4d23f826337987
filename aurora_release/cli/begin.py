"""Verbs that a newcomer types first: `aurora demo`, `doctor` and `recipes`."""

from pathlib import Path
from typing import Annotated

import typer

from aurora_release.cli.arguments import Json, Runs


def demo(runs: Runs = Path("runs")) -> None:
    """Run the demo recipe, verify its release, serve it and ask it three things."""
    from aurora_release import chain

    chain.demo(runs)


def doctor(
    runs: Runs = Path("runs"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where you would serve.")] = 8000,
    as_json: Json = False,
) -> None:
    """Look at this machine: what is there, what is missing, and what to do about it.

    Exit code 0 where the demo can run, warnings or not; 2 where a check failed.
    """
    from dataclasses import asdict

    from aurora_release import doctor as doctors
    from aurora_release.errors import AuroraError
    from aurora_release.evidence import canonical
    from aurora_release.log import nothing_on_stdout

    with nothing_on_stdout():
        found = doctors.examine(runs, port)
    if as_json:
        typer.echo(canonical([asdict(each) for each in found]).decode())
    else:
        typer.echo("\n".join(doctors.lines(found)))
    failed = [each.name for each in found if each.state == "failed"]
    if failed:
        raise AuroraError(f"The demo cannot run here yet: {', '.join(failed)} failed, see above.")


def recipes(as_json: Json = False) -> None:
    """List the shipped recipes: what each does, on what hardware, at what cost."""
    from dataclasses import asdict

    from aurora_release.evidence import canonical
    from aurora_release.recipe.heading import headings

    found = headings()
    if as_json:
        typer.echo(canonical([asdict(each) for each in found]).decode())
        return
    for each in found:
        typer.echo(f"{each.name:<16} {each.what}\n{'':<16} {each.cost}")
