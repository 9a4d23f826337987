"""`aurora chat`: a conversation in the terminal."""

from pathlib import Path
from typing import Annotated

import typer


def chat(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL|URL", help="A model folder, a Hub id, or an OpenAI server."),
    ],
    system: Annotated[str, typer.Option(help="The system prompt.")] = "",
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0: the likeliest.")] = 0.7,
    top_p: Annotated[float, typer.Option(min=0.01, max=1, help="Nucleus to sample from.")] = 0.95,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 256,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Same seed, same answer; a new one for each.")
    ] = None,
    repetition_penalty: Annotated[float, typer.Option(min=0.1, max=10, help="1: none.")] = 1.0,
    policy: Annotated[
        Path | None, typer.Option(help="A safety policy file; the shipped one.")
    ] = None,
    name: Annotated[str | None, typer.Option("--model", help="Model to ask a URL for.")] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="A file that holds the key of a URL.")
    ] = None,
) -> None:
    """Talk with a model in the terminal, or answer standard input in a pipe."""
    from aurora_release.evaluate.subject import Server
    from aurora_release.serve.chat.talk import Sampling
    from aurora_release.serve.chat.terminal import chat as talk

    sampling = Sampling(temperature, top_p, max_tokens, seed, repetition_penalty)
    key = Server(key_file=api_key_file).key()
    talk(model, sampling, system=system, policy=policy, name=name, key=key)
