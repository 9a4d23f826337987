"""`aurora serve`: a model behind the OpenAI and TGI protocols."""

from pathlib import Path
from typing import Annotated

import typer

_ACCESS = "Who may connect"
_FILTER = "The filter"


def serve(
    model: Annotated[Path, typer.Argument(help="A model folder, a variant or a release.")],
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
) -> None:
    """Serve a model over the OpenAI and TGI protocols, with a chat page at /chat."""
    from aurora_release.serve.server import serve as start

    start(
        model, host=host, port=port, policy=policy, api_key_file=api_key_file, audit_log=audit_log
    )
