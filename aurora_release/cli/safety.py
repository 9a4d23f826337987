"""`aurora safety`: pairs, their reviews, the filter and what it finds."""

from pathlib import Path
from typing import Annotated

import typer

from aurora_release.cli import redteam
from aurora_release.cli.arguments import Json

safety = typer.Typer(help="Safety pairs and the filter.", no_args_is_help=True)

DEFAULT_POLICY = "serve/policies/default.yaml"


@safety.command()
def policy(
    file: Annotated[Path | None, typer.Argument(help="A policy; without it, the shipped one.")] = (
        None
    ),
    as_json: Json = False,
) -> None:
    """Check a policy and say what it decides: actions, thresholds, guards, refusals, help."""
    from aurora_release.evidence import canonical
    from aurora_release.safety import overview
    from aurora_release.shipped import shipped

    found = overview.facts(file or shipped(DEFAULT_POLICY))
    typer.echo(canonical(found).decode() if as_json else overview.page(found))


@safety.command()
def classify(
    source: Annotated[Path, typer.Argument(help="A file of JSON lines, or - for standard input.")],
    as_json: Json = False,
    policy: Annotated[Path | None, typer.Option(help="A safety policy file.")] = None,
) -> None:
    """Judge texts: a verdict for each line {"text": "…", "direction": "input" or "output"}."""
    from aurora_release.evidence import canonical
    from aurora_release.safety import classify as lines
    from aurora_release.safety.guard import Guard
    from aurora_release.shipped import shipped

    with lines.open_lines(source) as texts:
        guard = Guard.load(policy or shipped(DEFAULT_POLICY))
        for answer in lines.classify(
            texts, "standard input" if str(source) == "-" else str(source), guard
        ):
            typer.echo(canonical(answer).decode() if as_json else lines.summary(answer))


@safety.command()
def fit(
    sources: Annotated[
        list[Path], typer.Argument(help="Ledgers of safety pairs, and contrast topics (.yaml).")
    ],
    out: Annotated[Path, typer.Option(help="The head; its report and card lie beside it.")],
) -> None:
    """Fit the heads of the filter's classifier; the same sources give the same bytes."""
    from aurora_release.safety.fit import fit as fit_heads

    fit_heads(sources, out)


@safety.command()
def review(
    ledger: Annotated[Path, typer.Argument(help="A ledger of safety pairs; reviews go into it.")],
    reviewer: Annotated[
        str, typer.Option(prompt="Your name", help="Who reviews: a person; asked for if not given.")
    ],
    language: Annotated[str | None, typer.Option(help="Begin with this language.")] = None,
    port: Annotated[int, typer.Option(help="On this machine only; 0 takes a free one.")] = 7860,
    policy: Annotated[Path | None, typer.Option(help="The policy that defines the areas.")] = None,
) -> None:
    """Open the review desk: a page to accept, edit or reject pairs, by keyboard."""
    from aurora_release.safety.desk.desk import Desk
    from aurora_release.safety.desk.page import application
    from aurora_release.safety.policy import load
    from aurora_release.serve.server import listen, run
    from aurora_release.shipped import shipped

    desk = Desk(ledger, reviewer, language)
    app = application(desk, load(policy or shipped(DEFAULT_POLICY)))
    with listen("127.0.0.1", port) as listener:
        typer.echo(f"Review desk: http://127.0.0.1:{listener.getsockname()[1]}  (Ctrl-C ends it)")
        run(app, listener)


@safety.command()
def stats(
    ledgers: Annotated[list[Path], typer.Argument(help="Ledgers of safety pairs.")],
    as_json: Json = False,
) -> None:
    """Verify ledgers and count their pairs and reviews; agreement of two reviewers, with kappa."""
    from rich.console import Console

    from aurora_release.evidence import canonical
    from aurora_release.safety import ledger

    answer = ledger.report(ledgers)
    if as_json:
        typer.echo(canonical(answer).decode())
    else:
        Console().print(*ledger.tables(answer), sep="\n\n")


@safety.command()
def export(
    ledgers: Annotated[list[Path], typer.Argument(help="Ledgers of safety pairs.")],
    out: Annotated[Path, typer.Option(help="The file to write; it must not be there yet.")],
    min_reviews: Annotated[
        int, typer.Option(min=0, help="Persons who must have accepted a pair as it stands.")
    ] = 1,
    preferences: Annotated[
        bool, typer.Option("--preferences", help="Edited answers as pairs for `tune`.")
    ] = False,
) -> None:
    """Write the pairs that a recipe may use: reviewed often enough, and rejected by nobody."""
    from aurora_release.safety import ledger

    found = ledger.export(ledgers, min_reviews, out, preferences)
    typer.echo(
        f"{len(found.pairs)} pairs written to {out}; left out: {found.unreviewed} with fewer than "
        f"{min_reviews} reviews, {found.rejected} rejected"
    )


safety.command("eval")(redteam.evaluate)
safety.command()(redteam.report)
safety.command()(redteam.evasions)
safety.command()(redteam.agreement)
