"""`aurora serve`: a model behind the OpenAI and TGI protocols."""

from pathlib import Path
from typing import Annotated, Literal

import typer

_ACCESS = "Who may connect"
_FILTER = "The filter"
_LIMITS = "Limits"
_LOG = "Log"


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
        typer.Option(
            help="Keys of which clients must send one: see `aurora keys api`.",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    public: Annotated[
        bool,
        typer.Option("--public", help="Let anyone in, without a key.", rich_help_panel=_ACCESS),
    ] = False,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Let web pages of this origin call the server, as in https://example.org.",
            rich_help_panel=_ACCESS,
        ),
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
    slots: Annotated[
        int,
        typer.Option(min=1, help="Answers generated at the same time.", rich_help_panel=_LIMITS),
    ] = 8,
    queue: Annotated[
        int,
        typer.Option(min=0, help="Answers that may wait for a slot.", rich_help_panel=_LIMITS),
    ] = 64,
    max_total_tokens: Annotated[
        int, typer.Option(min=2, help="Of one prompt and its answer.", rich_help_panel=_LIMITS)
    ] = 2048,
    max_tokens_under_way: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of all prompts and answers, waiting ones too. Four times the slots if not given.",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_seconds: Annotated[
        float, typer.Option(min=1, help="A request takes no longer.", rich_help_panel=_LIMITS)
    ] = 600,
    max_body: Annotated[
        int, typer.Option(min=1, help="Bytes of a request.", rich_help_panel=_LIMITS)
    ] = 2_000_000,
    stall_seconds: Annotated[
        float,
        typer.Option(
            min=1,
            help="Restart an engine that makes no token for so long.",
            rich_help_panel=_LIMITS,
        ),
    ] = 120,
    drain_seconds: Annotated[
        float,
        typer.Option(min=0, help="Answers may end after SIGTERM.", rich_help_panel=_LIMITS),
    ] = 30,
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(
            help="With json: a line for each request, without what was said.", rich_help_panel=_LOG
        ),
    ] = "text",
) -> None:
    """Serve a model over the OpenAI and TGI protocols, with a chat page at /chat."""
    from aurora_release import log
    from aurora_release.serve import keys
    from aurora_release.serve.engines.embedded import Limits
    from aurora_release.serve.server import serve as start
    from aurora_release.serve.settings import Settings

    if log_format == "json":
        log.as_json()
    settings = Settings(
        keys=None if api_key_file is None else keys.read(api_key_file),
        origins=tuple(cors_origin or ()),
        access_log=log_format == "json",
        max_body_bytes=max_body,
        most_waiting=queue,
        most_tokens=max_tokens_under_way,
        most_seconds=max_seconds,
        drain_seconds=drain_seconds,
        patience_seconds=stall_seconds,
    )
    start(
        model,
        host=host,
        port=port,
        policy=policy,
        audit_log=audit_log,
        limits=Limits(slots, queue, max_total_tokens),
        settings=settings,
        public=public,
    )
