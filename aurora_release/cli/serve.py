"""`aurora serve`: a model behind the OpenAI and TGI protocols."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

Engine = Literal["auto", "embedded", "openai", "tgi", "vllm", "llama"]


def _access(help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Who may connect", **more)


def _filter(help: str) -> Any:
    return typer.Option(help=help, rich_help_panel="The filter")


def _limit(help: str, least: float) -> Any:
    return typer.Option(help=help, min=least, rich_help_panel="Limits")


def _engine(help: str, **more: Any) -> Any:
    return typer.Option(help=help, rich_help_panel="What generates", **more)


Model = Annotated[
    str, typer.Argument(help="A model folder, a variant, a release, or ORG/NAME on the Hub.")
]
Also = Annotated[
    list[Path] | None,
    _engine("Serve this folder too, to clients that name it; the chat page compares the two."),
]
Options = Annotated[
    list[str] | None, typer.Argument(metavar="[-- OPTION...]", help="For the engine's own program.")
]
Host = Annotated[str, _access("Address to listen on.")]
Port = Annotated[int, _access("Port; 0 takes a free one.", min=0, max=65535)]
KeyFile = Annotated[
    Path | None, _access("Keys of which clients must send one: see `aurora keys api`.")
]
QuotaFile = Annotated[
    Path | None,
    _access("Where what keys used today outlives the server; KEYS.used beside them if not given."),
]
Public = Annotated[bool, _access("Let anyone in, without a key.", "--public")]
Origins = Annotated[
    list[str] | None,
    _access("Let web pages of this origin call the server, as in https://example.org."),
]
Policy = Annotated[Path | None, _filter("A safety policy file; the shipped one if not given.")]
Audit = Annotated[Path | None, _filter("Write what the filter decides, without any text, here.")]
Slots = Annotated[int, _limit("Answers generated at the same time.", 1)]
Queue = Annotated[int, _limit("Answers that may wait for a slot.", 0)]
TotalTokens = Annotated[int, _limit("Of one prompt and its answer.", 2)]
UnderWay = Annotated[
    int | None,
    _limit("Of all prompts and answers, waiting too; if not given, 4 x what the slots hold.", 1),
]
Seconds = Annotated[float, _limit("A request takes no longer.", 1)]
Body = Annotated[int, _limit("Bytes of a request.", 1)]
HeaderSeconds = Annotated[float, _limit("A request's header takes no longer to come.", 0.1)]
BodySeconds = Annotated[float, _limit("Nor does its body.", 0.1)]
Stall = Annotated[float, _limit("Restart an engine that makes no token for so long.", 1)]
DrainSeconds = Annotated[
    float, _limit("Answers may go on for so long after Ctrl-C (exit code 0) or SIGTERM (143).", 0)
]
LogFormat = Annotated[
    Literal["text", "json"],
    typer.Option(help="With json: a line for each request too, without what was said."),
]
EngineName = Annotated[
    Engine,
    _engine("In this process, other servers' OpenAI or TGI routes, or a program of its own."),
]
Upstream = Annotated[
    list[str] | None,
    _engine(
        "A server that generates, as http://HOST:PORT; MODEL then gives the tokenizer. "
        "Several share the load."
    ),
]
UpstreamKey = Annotated[Path | None, _engine("A file that holds the key upstreams ask for.")]
Program = Annotated[Path | None, _engine("The Python that has vLLM, or llama-server.")]
TensorParallel = Annotated[int, _engine("vLLM: GPUs a layer is split over.", min=1)]
PipelineParallel = Annotated[int, _engine("vLLM: parts the layers are split into.", min=1)]


def serve(
    model: Model,
    options: Options = None,
    also: Also = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    api_key_file: KeyFile = None,
    quota_file: QuotaFile = None,
    public: Public = False,
    cors_origin: Origins = None,
    policy: Policy = None,
    audit_log: Audit = None,
    slots: Slots = 8,
    queue: Queue = 64,
    max_total_tokens: TotalTokens = 2048,
    max_tokens_under_way: UnderWay = None,
    max_seconds: Seconds = 600,
    max_body: Body = 2_000_000,
    header_seconds: HeaderSeconds = 10,
    body_seconds: BodySeconds = 30,
    stall_seconds: Stall = 120,
    drain_seconds: DrainSeconds = 30,
    log_format: LogFormat = "text",
    engine: EngineName = "auto",
    upstream: Upstream = None,
    upstream_key_file: UpstreamKey = None,
    engine_program: Program = None,
    tensor_parallel: TensorParallel = 1,
    pipeline_parallel: PipelineParallel = 1,
) -> None:
    """Serve a model over the OpenAI and TGI protocols, with a chat page at /chat."""
    from aurora_release import download, log
    from aurora_release.serve import keys, quotas, server, settings
    from aurora_release.serve.engines import choose, embedded

    if log_format == "json":
        log.as_json()
    choice = choose.Choice(engine, tuple(upstream or ()), upstream_key_file, engine_program,
                           tensor_parallel, pipeline_parallel, tuple(options or ()))  # fmt: skip
    known = keys.read(api_key_file) if api_key_file else None
    chosen = settings.Settings(
        keys=known, quotas=quotas.quota_file(known, api_key_file, quota_file),
        origins=tuple(cors_origin or ()), access_log=log_format == "json", max_body_bytes=max_body,
        header_seconds=header_seconds, body_seconds=body_seconds, most_waiting=queue,
        most_tokens=max_tokens_under_way, most_seconds=max_seconds,
        drain_seconds=drain_seconds, patience_seconds=stall_seconds)  # fmt: skip
    limits = embedded.Limits(slots, queue, max_total_tokens)
    server.serve(download.model(model), host=host, port=port, also=tuple(also or ()), policy=policy,
                 audit_log=audit_log, limits=limits, choice=choice, settings=chosen,
                 public=public)  # fmt: skip
