"""`aurora serve`: a model behind the OpenAI and TGI protocols."""

from pathlib import Path
from typing import Annotated, Literal

import typer

_ACCESS = "Who may connect"
_FILTER = "The filter"
_ENGINE = "What generates"

Engine = Literal["auto", "embedded", "openai", "tgi", "vllm", "llama"]


def serve(
    model: Annotated[Path, typer.Argument(help="A model folder, a variant or a release.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- OPTION...]", help="For the engine's own program."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on.", rich_help_panel=_ACCESS)
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port; 0 takes a free one.", rich_help_panel=_ACCESS),
    ] = 8000,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="A file that holds the key clients must send.", rich_help_panel=_ACCESS),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="A safety policy file.", rich_help_panel=_FILTER)
    ] = None,
    audit_log: Annotated[
        Path | None,
        typer.Option(
            help="Write what the filter decides, without any text, here.", rich_help_panel=_FILTER
        ),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help="In this process, other servers' OpenAI or TGI routes, or a program of its own.",
            rich_help_panel=_ENGINE,
        ),
    ] = "auto",
    upstream: Annotated[
        list[str] | None,
        typer.Option(
            help="A server that generates, as http://HOST:PORT; MODEL then gives the tokenizer. "
            "Several share the load.",
            rich_help_panel=_ENGINE,
        ),
    ] = None,
    upstream_key_file: Annotated[
        Path | None,
        typer.Option(help="A file that holds the key upstreams ask for.", rich_help_panel=_ENGINE),
    ] = None,
    engine_program: Annotated[
        Path | None,
        typer.Option(help="The Python that has vLLM, or llama-server.", rich_help_panel=_ENGINE),
    ] = None,
    tensor_parallel: Annotated[
        int, typer.Option(min=1, help="vLLM: GPUs a layer is split over.", rich_help_panel=_ENGINE)
    ] = 1,
    pipeline_parallel: Annotated[
        int,
        typer.Option(min=1, help="vLLM: parts the layers are split into.", rich_help_panel=_ENGINE),
    ] = 1,
) -> None:
    """Serve a model over the OpenAI and TGI protocols, with a chat page at /chat."""
    from aurora_release.serve.engines.choose import Choice
    from aurora_release.serve.server import serve as start

    choice = Choice(
        kind=engine,
        upstreams=tuple(upstream or ()),
        key_file=upstream_key_file,
        program=engine_program,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        options=tuple(options or ()),
    )
    start(
        model,
        host=host,
        port=port,
        policy=policy,
        api_key_file=api_key_file,
        audit_log=audit_log,
        choice=choice,
    )
