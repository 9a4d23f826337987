"""Commands over a finished release: verify, sign, and the keys that sign."""

from pathlib import Path
from typing import Annotated

import typer

from aurora_release.cli.arguments import DryRun, Json, Overrides

keys = typer.Typer(
    help="Keys that sign releases, and keys of a server's clients.", no_args_is_help=True
)

Release = Annotated[Path, typer.Argument(metavar="RELEASE", help="A release folder.")]
Key = Annotated[
    Path | None, typer.Option(help="The publisher's public key, which must have signed it.")
]


def verify(
    release: Annotated[
        str, typer.Argument(help="A release folder, or ORG/NAME or ORG/NAME@REVISION on the Hub.")
    ],
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Check every file of a release, the chain of evidence behind it, and its signature."""
    from aurora_release import chain

    chain.verify(release, key, as_json)


def publish(
    release: Release,
    to: Annotated[str, typer.Option(help="ORG/NAME on the Hub, or file:///FOLDER.")],
    private: Annotated[bool, typer.Option("--private", help="Where only its owner sees it.")] = (
        False
    ),
    tag: Annotated[
        str | None, typer.Option(help="The tag it gets; the first digits of its digest.")
    ] = None,
    collection: Annotated[
        str | None, typer.Option(help="Title of a collection of the owner to add it to.")
    ] = None,
    key: Key = None,
    dry_run: DryRun = False,
) -> None:
    """Check RELEASE, send it in one commit, fetch it back, verify and tag it."""
    from aurora_release.publish.publish import Target
    from aurora_release.publish.publish import publish as send

    typer.echo(send(release, Target(to, private, tag, collection), key, dry_run))


def diff(
    before: Annotated[str, typer.Argument(help="A release folder, or a Hub id.")],
    after: Annotated[str, typer.Argument(help="Another.")],
    as_json: Json = False,
) -> None:
    """Say what changed from one release to another: recipe, data, metrics, safety, files."""
    from aurora_release import chain

    typer.echo(chain.diff(before, after, as_json))


def sign(
    release: Release,
    key: Annotated[Path, typer.Option(help="A private key of `aurora keys new`.")],
) -> None:
    """Sign a release that verifies: OpenSSF model-signing, in RELEASE/model.sig."""
    from aurora_release import chain
    from aurora_release.card.sign import FILE
    from aurora_release.card.sign import sign as write

    chain.verify(str(release))
    write(release, key)
    typer.echo(f"Signed: {release / FILE}")


def card(
    release: Annotated[str, typer.Argument(help="A release folder, or a Hub id.")],
    check: Annotated[
        bool, typer.Option("--check", help="Say where a page is not what evidence says.")
    ] = False,
    page: Annotated[
        str, typer.Option(metavar="FILE", help="Print another page, such as mixture/README.md.")
    ] = "README.md",
) -> None:
    """Print a page that the evidence of RELEASE renders to, or check all that lie there."""
    from aurora_release import download
    from aurora_release.card import chain, render
    from aurora_release.card.check import check as wrong
    from aurora_release.errors import AuroraError, meant
    from aurora_release.evidence import FILE

    if page not in render.TEMPLATES:
        raise AuroraError(
            f"{page} is no page of a release; there are {', '.join(render.TEMPLATES)}."
            + meant(page, render.TEMPLATES)
        )
    folder = download.release(release)
    if not check:
        with chain.readable():
            measured = chain.statement(folder / FILE).predicate.measured
            text = render.page(page, chain.read(folder), measured)
        typer.echo(text, nl=False)
    elif found := wrong(folder):
        raise AuroraError(" ".join(found))
    else:
        typer.echo(
            f"ok    {folder}: every page says what the evidence says, and no stage is newer."
        )


def report(
    folder: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder, a release folder, or a Hub id.")
    ],
    overrides: Overrides = None,
    recipe: Annotated[
        str | None, typer.Option(help="The recipe of a run that has no release yet.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file; RUN's name with .html.")] = None,
) -> None:
    """Write one HTML file that holds everything the evidence of RUN says."""
    from aurora_release import chain, download

    found = download.release(folder)
    out = out or Path(f"{found.resolve().name}.html")
    typer.echo(f"Report: {chain.report(found, out, recipe, tuple(overrides or ()))}")


@keys.command()
def new(
    file: Annotated[Path, typer.Argument(help="The file to write; never overwritten.")],
) -> None:
    """Write a new private key that only you can read (ECDSA on P-256)."""
    from aurora_release.card.keys import new as write

    write(file)
    typer.echo(f"Private key: {file}\nIts public half: aurora keys public {file}")


@keys.command()
def public(file: Annotated[Path, typer.Argument(help="A private key.")]) -> None:
    """Print the public half of a private key, for those who verify."""
    from aurora_release.card.keys import public as read

    typer.echo(read(file), nl=False)


@keys.command()
def api(
    name: Annotated[str, typer.Argument(help="Whose key it is; stands in logs and metrics.")],
    file: Annotated[Path, typer.Argument(help="The file for `aurora serve --api-key-file`.")],
    requests_per_minute: Annotated[int | None, typer.Option(min=1, help="At most.")] = None,
    tokens_per_minute: Annotated[int | None, typer.Option(min=1, help="At most.")] = None,
    tokens_per_day: Annotated[int | None, typer.Option(min=1, help="At most.")] = None,
) -> None:
    """Make an API key for NAME, add its digest to FILE, and print the key, this once."""
    from aurora_release.serve.keys import KeyLimits, add

    typer.echo(add(file, name, KeyLimits(requests_per_minute, tokens_per_minute, tokens_per_day)))
