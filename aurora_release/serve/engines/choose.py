"""From the options of `aurora serve` to an engine."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from aurora_release import parse
from aurora_release.errors import AuroraError
from aurora_release.evaluate.load import GGUF, method
from aurora_release.node import LLAMA_CPP, node_folder
from aurora_release.serve.engines.embedded import EmbeddedEngine, Limits, digest, name
from aurora_release.serve.engines.protocol import Engine, ModelFacts

if TYPE_CHECKING:
    from aurora_release.serve.engines.child import Command
    from aurora_release.serve.engines.remote import RemoteEngine

Kind = Literal["auto", "embedded", "openai", "tgi", "vllm", "llama"]


@dataclass(frozen=True)
class Choice:
    """Which engine to use, and how."""

    kind: Kind = "auto"
    """`auto` is `openai` with upstreams, `llama` for a GGUF folder, else `embedded`."""
    upstreams: tuple[str, ...] = ()
    key_file: Path | None = None
    """Holds the key that upstreams ask for."""
    program: Path | None = None
    """The Python that has vLLM, or llama-server."""
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    options: tuple[str, ...] = ()
    """Passed on to the program."""


def open_engine(folder: Path, choice: Choice, limits: Limits | None = None) -> Engine:
    """Return the chosen engine over the model in `folder`, not started, but for a child process.

    Raises:
        AuroraError: options do not fit together, the folder cannot be read, or a program is missing
            or ends at once.
    """
    kind = check(folder, choice)
    if kind == "embedded":
        return EmbeddedEngine.load(folder, limits)
    if kind in ("openai", "tgi"):
        return _remote(folder, kind, choice)
    if kind == "vllm":
        return _vllm(folder, choice)
    return _llama(folder, choice, limits or Limits())


def check(folder: Path, choice: Choice) -> Kind:
    """Return which engine it will be, before anything slow is done.

    Raises:
        AuroraError: options do not fit together, or the folder holds no model to run here.
    """
    kind = _kind(folder, choice)
    _check(kind, choice)
    if kind == "embedded":
        method(folder)
    for url in choice.upstreams:
        _address(url)
    return kind


def _kind(folder: Path, choice: Choice) -> Kind:
    if choice.kind != "auto":
        return choice.kind
    if choice.upstreams:
        return "openai"
    return "llama" if (folder / GGUF).is_file() else "embedded"


def _check(kind: Kind, choice: Choice) -> None:
    """Refuse options that the engine would not look at."""
    remote, child = kind in ("openai", "tgi"), kind in ("vllm", "llama")
    if remote and not choice.upstreams:
        raise AuroraError(f"--engine {kind} asks other servers: name them with --upstream URL.")
    unread = {
        "--upstream": choice.upstreams and not remote,
        "--upstream-key-file": choice.key_file and not remote,
        "--engine-program": choice.program and not child,
        "--tensor-parallel": choice.tensor_parallel > 1 and kind != "vllm",
        "--pipeline-parallel": choice.pipeline_parallel > 1 and kind != "vllm",
        "options after --": choice.options and not child,
    }
    for option, given in unread.items():
        if given:
            raise AuroraError(f"{option}: the engine `{kind}` has no use for it; leave it out.")


def facts(folder: Path, tokenizer: Any) -> ModelFacts:
    """Return what a folder says of a model that others run; a tokenizer alone will do.

    Its `max_total_tokens` is 0 where no configuration says.
    """
    path = folder / "config.json"
    config = json.loads(path.read_bytes()) if path.is_file() else {}
    longest = config.get("max_position_embeddings") or config.get("n_positions") or 0
    return ModelFacts(
        id=name(folder),
        max_total_tokens=longest,
        vocabulary=config.get("vocab_size") or len(tokenizer),
        digest=digest(folder),
        dtype=str(config.get("dtype") or config.get("torch_dtype") or "unknown"),
    )


def _remote(folder: Path, kind: Kind, choice: Choice) -> "RemoteEngine":
    from aurora_release.evaluate.load import load_tokenizer
    from aurora_release.serve.engines.openai_dialect import OpenAIDialect
    from aurora_release.serve.engines.remote import RemoteEngine
    from aurora_release.serve.engines.replica import Replica
    from aurora_release.serve.engines.tgi_dialect import TGIDialect
    from aurora_release.serve.engines.vocabulary import Vocabulary

    tokenizer = load_tokenizer(folder)
    vocabulary = Vocabulary(tokenizer)
    dialect = TGIDialect(vocabulary) if kind == "tgi" else OpenAIDialect(vocabulary)
    key = None if choice.key_file is None else parse.key_file(choice.key_file)
    urls = dict.fromkeys(map(_address, choice.upstreams))
    replicas = [Replica(url, dialect, key) for url in urls]
    return RemoteEngine(replicas, tokenizer, facts(folder, tokenizer))


def _address(url: str) -> str:
    """Return the address of a server without the path of the protocol."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise AuroraError(f"{url} (--upstream) is no address of a server: http://HOST:PORT is.")
    if parts.username or parts.password:
        raise AuroraError(
            f"--upstream http://{parts.hostname}: a password does not belong into an address, "
            "which is logged. Put the key into a file: --upstream-key-file."
        )
    return url.rstrip("/").removesuffix("/v1")


def _vllm(folder: Path, choice: Choice) -> Engine:
    if choice.program is None and find_spec("vllm") is None:
        raise AuroraError(
            "vLLM is not installed here, and it needs other versions than aurora does: install it "
            "in an environment of its own, and name that Python with --engine-program."
        )
    python = str(choice.program or sys.executable)

    def command(socket: Path) -> Sequence[str]:
        # its own command reads the version of a package that its CPU build does not have
        return [
            python, "-m", "vllm.entrypoints.openai.api_server",
            "--model", str(folder), "--uds", str(socket),
            "--tensor-parallel-size", str(choice.tensor_parallel),
            "--pipeline-parallel-size", str(choice.pipeline_parallel),
            *choice.options,
        ]  # fmt: skip

    # a served model calls nobody
    quiet = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    return _started("vLLM", folder, command, quiet)


def _llama(folder: Path, choice: Choice, limits: Limits) -> Engine:
    if not (folder / GGUF).is_file():
        raise AuroraError(f"{folder} has no {GGUF}, which --engine llama serves.")
    program = choice.program or shutil.which("llama-server")
    if program is not None:
        return _started("llama-server", folder, _llama_server(program, folder, choice, limits), {})
    node = node_folder()
    if shutil.which("node") is None or not (node / "node_modules" / "node-llama-cpp").is_dir():
        raise AuroraError(
            f"{folder} holds a GGUF file, which llama.cpp serves, and that is not installed: "
            f"npm install --ignore-scripts --prefix {node.absolute()} {LLAMA_CPP} brings it in "
            "seconds; or name llama-server with --engine-program."
        )
    return _started("node-llama-cpp", folder, _node(node, folder, limits), {})


def _llama_server(program: Path | str, folder: Path, choice: Choice, limits: Limits) -> "Command":
    def command(socket: Path) -> Sequence[str]:
        return [
            str(program), "--model", str(folder / GGUF), "--host", str(socket),
            "--parallel", str(limits.slots), "--no-webui",
            "--ctx-size", str(limits.slots * limits.max_total_tokens),
            *choice.options,
        ]  # fmt: skip

    return command


def _node(node: Path, folder: Path, limits: Limits) -> "Command":
    def command(socket: Path) -> Sequence[str]:
        job = {
            "folder": str(node.absolute()),
            "model": str((folder / GGUF).resolve()),
            "socket": str(socket),
            "slots": limits.slots,
            "tokens": limits.max_total_tokens,
            # its threads spin: more of them than cores are free make it hundreds of times slower
            "threads": int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))),
        }
        return ["node", str(Path(__file__).with_name("llama.mjs")), json.dumps(job)]

    return command


def _started(what: str, folder: Path, command: "Command", environment: dict[str, str]) -> Engine:
    """Return a running engine over a child process."""
    from aurora_release.evaluate.load import load_tokenizer
    from aurora_release.serve.engines.child import ChildEngine

    tokenizer = load_tokenizer(folder)
    engine = ChildEngine(what, command, tokenizer, facts(folder, tokenizer), environment)
    engine.start()
    engine.wait()
    return engine
