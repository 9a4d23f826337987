"""`aurora evaluate`: what a model can do, and what changed."""

from pathlib import Path
from typing import Annotated

import typer

from aurora_release.cli.arguments import Json
from aurora_release.log import nothing_on_stdout


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Model folders, URLs or Hub ids, [NAME=]MODEL each."
        ),
    ],
    against: Annotated[str | None, typer.Option(help="The model that they came from.")] = None,
    sets: Annotated[
        list[Path] | None, typer.Option(help="A .jsonl file or a folder of them.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where results are kept.")] = Path("evaluations"),
    limit: Annotated[int | None, typer.Option(min=1, help="Items of each set.")] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="The model folder whose tokenizer a URL uses.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file that holds the key of a URL.")
    ] = None,
    context: Annotated[int, typer.Option(min=2, help="Tokens the model sees at most.")] = 1024,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens scored at a time.")] = 2048,
    exact: Annotated[bool, typer.Option("--exact", help="Compute in float32.")] = False,
    samples: Annotated[int, typer.Option(min=1, help="Programs for each code problem.")] = 1,
    temperature: Annotated[float, typer.Option(min=0, help="Of the programs.")] = 0.0,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Of a program or an answer.")] = 256,
    seed: Annotated[int, typer.Option(min=0, help="Of programs and intervals.")] = 0,
    as_json: Json = False,
) -> None:
    """Measure models on evaluation sets and say what changed against another."""
    from aurora_release.evaluate.generate import Sampling
    from aurora_release.evaluate.measure import Settings
    from aurora_release.evaluate.subject import Server
    from aurora_release.evaluate.whole import evaluate as start

    sampling = Sampling(samples, temperature, max_new_tokens, seed)
    settings = Settings(context, batch_tokens, exact, sampling)
    server = Server(tokenizer, api_key_file)
    with nothing_on_stdout():
        found = start(models, against, sets or (), out, settings, limit, server)
    typer.echo(found.json() if as_json else found.text())
