"""`aurora safety eval`, `report`, `evasions` and `agreement`: what a model does with harm."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aurora_release.cli.arguments import Json
from aurora_release.log import nothing_on_stdout

if TYPE_CHECKING:
    from aurora_release.evaluate.redteam.requests import RequestSet
    from aurora_release.evaluate.redteam.wrappers import Wrapper
    from aurora_release.safety.guard import Guard

Ledgers = Annotated[
    list[Path] | None,
    typer.Option("--ledger", help="A ledger of pairs; the shipped ones where nothing is named."),
]
Sets = Annotated[
    list[Path] | None,
    typer.Option("--set", help="Requests of your own, CSV or JSON lines with a `prompt`."),
]
Language = Annotated[str, typer.Option(help="Language of sets that do not say theirs.")]
Share = Annotated[
    float,
    typer.Option(
        min=0.001,
        max=1,
        help="Share of the ledgers' topics that is held out and asked; 1 asks all.",
    ),
]
Wrappers = Annotated[
    str, typer.Option(help="Attack wrappers, with commas between; `all`, or `plain` for none.")
]
Templates = Annotated[
    list[Path] | None, typer.Option(help="Wrappers of your own: YAML, or one template as .txt.")
]
Policy = Annotated[Path | None, typer.Option(help="A safety policy; the shipped one.")]
Out = Annotated[Path, typer.Option(help="Folder for answers, report, table and picture.")]


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL|URL", help="A model folder, a GGUF file, or a server.")
    ],
    ledger: Ledgers = None,
    sets: Sets = None,
    language: Language = "en",
    heldout: Share = 0.1,
    wrappers: Wrappers = "plain",
    templates: Templates = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 48,
    policy: Policy = None,
    name: Annotated[str | None, typer.Option("--model", help="Model to ask a server for.")] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file that holds the key of the server.")
    ] = None,
    out: Out = Path("redteam"),
    as_json: Json = False,
) -> None:
    """Ask MODEL harmful requests and harmless look-alikes; say what it refuses and what not.

    Answers are kept in OUT: the same command goes on where it was stopped.
    """
    from aurora_release.evaluate.redteam import evaluation, grids, models, output

    asked = _sets(ledger, sets, language, heldout)
    attacks = _wrappers(wrappers, templates)
    guard = _guard(policy)
    with (
        nothing_on_stdout(),
        models.open_model(model, name, api_key_file, max_new_tokens) as opened,
    ):
        out.mkdir(parents=True, exist_ok=True)
        found = evaluation.evaluate(opened, asked, attacks, guard, out / output.ANSWERS)
    content = {"model": model, "max_new_tokens": max_new_tokens, **found}
    _tell(content, grids.of_report(found), evaluation.notes(found), out, as_json)


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, as runs/demo.")],
    policy: Policy = None,
    out: Out = Path("redteam"),
    as_json: Json = False,
) -> None:
    """Say what each step of RUN did to safety, from its evidence and from its release, served.

    The server is started with the filter on a free port, asked what the models were asked, and
    stopped.
    """
    from aurora_release.evaluate.redteam import grids
    from aurora_release.evaluate.redteam.steps import notes, steps
    from aurora_release.serve.tour import serving

    out.mkdir(parents=True, exist_ok=True)
    with nothing_on_stdout():
        found = steps(run, serving, _guard(policy), out)
    _tell({"run": run.name, "steps": found}, grids.of_steps(found), notes(found), out, as_json)


def evasions(
    ledger: Ledgers = None,
    sets: Sets = None,
    language: Language = "en",
    heldout: Share = 0.1,
    wrappers: Wrappers = "all",
    templates: Templates = None,
    policy: Policy = None,
    out: Out = Path("evasions"),
    as_json: Json = False,
) -> None:
    """Say which attack wrappers the filter sees through, in each language; no model is asked."""
    from aurora_release.evaluate.redteam import evasions as found
    from aurora_release.evaluate.redteam.evaluation import left_out, missing
    from aurora_release.evaluate.redteam.wrappers import apply

    asked = _sets(ledger, sets, language, heldout)
    attacks = apply([request for each in asked for request in each.requests],
                    _wrappers(wrappers, templates))  # fmt: skip
    blocks = found.count_blocks(attacks.asked, _guard(policy))
    out.mkdir(parents=True, exist_ok=True)
    content = {"blocks": blocks, **left_out(asked, attacks)}
    _tell(content, found.of_blocks(blocks), missing(content), out, as_json)


def agreement(
    files: Annotated[
        list[Path],
        typer.Argument(help="Labelled answers, CSV or JSON lines; XSTest's own files fit."),
    ],
    guard: Annotated[bool, typer.Option(help="Compare the filter's guard too (slow).")] = True,
    policy: Policy = None,
    as_json: Json = False,
) -> None:
    """Say how far the judges of an evaluation agree with people, on answers people labelled."""
    from aurora_release.evaluate.redteam import labels
    from aurora_release.evidence import canonical

    answers = [item for path in files for item in labels.read(path)]
    found = labels.agreement(answers, _guard(policy) if guard else None)
    typer.echo(canonical(found).decode() if as_json else "\n".join(labels.lines(found)))


def _sets(
    ledgers: list[Path] | None, files: list[Path] | None, language: str, share: float
) -> "list[RequestSet]":
    """Return what is to be asked: the files named, or the shipped ledgers where none is."""
    from aurora_release.evaluate.redteam.requests import of_file, of_ledger
    from aurora_release.shipped import shipped

    if not ledgers and not files:
        ledgers = sorted(shipped("train/safety").glob("*.jsonl"))
    found = [of_ledger(path, share) for path in ledgers or ()]
    return found + [of_file(path, language) for path in files or ()]


def _wrappers(names: str, own: list[Path] | None) -> "list[Wrapper]":
    from aurora_release.evaluate.redteam.wrappers import load

    return load([name.strip() for name in names.split(",")], own or ())


def _guard(policy: Path | None) -> "Guard":
    from aurora_release.safety.guard import Guard
    from aurora_release.shipped import shipped

    return Guard.load(policy or shipped("serve/policies/default.yaml"))


def _tell(content: Any, grids: Any, notes: list[str], out: Path, as_json: bool) -> None:
    """Write report, table and picture, and print one of the first two."""
    from rich.console import Console

    from aurora_release.evaluate.redteam import output
    from aurora_release.evaluate.redteam.grids import tables

    machine = output.write(content, grids, notes, out)
    if as_json:
        typer.echo(machine)
        return
    Console().print(*tables(grids), sep="\n\n")
    for note in notes:
        typer.echo(f"- {note}")
    typer.echo(f"written to {out}: {', '.join(output.FILES)}")
