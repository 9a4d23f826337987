"""One command from a model folder to a listening server."""

import errno
import ipaddress
import logging
import math
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aurora_release import evidence
from aurora_release.errors import AuroraError
from aurora_release.serve import greeting, traces
from aurora_release.serve.audit import AuditLog
from aurora_release.serve.engines.choose import Choice, check, open_engine
from aurora_release.serve.engines.embedded import Limits
from aurora_release.serve.keys import ApiKeys
from aurora_release.serve.settings import Settings
from aurora_release.shipped import shipped

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from aurora_release.serve.engines.protocol import Engine

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 5.0
"""After the drain: how long clients may take to read that their answers ended."""

_UNREAD_SECONDS = 30
"""A connection whose other side takes nothing for so long is closed, and with it its request."""

_UNREAD_BYTES = 128 * 2**10
"""What the kernel keeps of an answer for a client that does not read (Linux: twice as much)."""

_TEMPLATE = "chat_template.jinja"


def serve(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    also: Sequence[Path] = (),
    policy: Path | None = None,
    audit_log: Path | None = None,
    limits: Limits | None = None,
    choice: Choice | None = None,
    settings: Settings | None = None,
    public: bool = False,
) -> None:
    """Serve the model in `folder` until SIGTERM or Ctrl-C; port 0 takes a free one.

    `also` are served beside it by an engine of the same kind, to clients that name them and on the
    chat page. The policy, the audit log and what the environment says of traces complete
    `settings`. `public` lets other machines in without a key.

    Raises:
        AuroraError: the address cannot be listened on, or not without a key; the model folder or
            the policy cannot be read; the audit log cannot be written.
    """
    settings = replace(settings or Settings(), traces=traces.from_environment())
    check_address(host, settings.keys, public)
    for each in (folder, *also):
        check_folder(each)
    with listen(host, port) as listener:
        from aurora_release.safety.guard import Guard
        from aurora_release.safety.policy import load
        from aurora_release.serve.app import create_app

        choice = choice or Choice()
        for each in (folder, *also):
            check(each, choice)
        policy = policy or shipped("serve/policies/default.yaml")
        rules = load(policy)
        audit = None if audit_log is None else AuditLog(audit_log, rules.digest)
        guard = Guard.of(rules, policy)
        engine, *others = (_open(each, choice, limits) for each in (folder, *also))
        settings = replace(settings, stream=rules.stream, fail_closed=rules.fail_closed,
                           audit_log=audit)  # fmt: skip
        app = create_app(engine, guard, settings, others)
        app.state.begun = [
            partial(greeting.address, folder, _url(host, listener), engine, others),
            partial(greeting.upstreams, choice, engine),
            partial(greeting.access, settings.keys, audit_log),
            partial(greeting.filter_of, rules),
        ]
        run(app, listener, settings.drain_seconds)


def _open(folder: Path, choice: Choice, limits: Limits | None) -> "Engine":
    """Return the engine over a folder, and say first what takes a while."""
    logger.info("Reading %s", folder)
    return open_engine(folder, choice, limits)


def _url(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def run(app: "FastAPI", listener: socket.socket, drain_seconds: float = 30.0) -> None:
    """Answer requests on `listener`; on SIGTERM finish the running ones first."""
    server = http_server(app, drain_seconds)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        # uvicorn repeats Ctrl-C once everything is shut down: the user got what was asked for
        return
    finally:
        if any(each.state == "hanging" for each in getattr(app.state, "supervisors", ())):
            os._exit(1)  # Python would wait for the engine's thread, which does not end
    if not server.started:
        raise AuroraError("The server did not start; the reason stands above in the log.")


def http_server(app: "FastAPI", drain_seconds: float = 30.0) -> "uvicorn.Server":
    """Return the HTTP server for `app`, not running yet."""
    import uvicorn

    from aurora_release.serve.connection import protocol

    class Server(uvicorn.Server):
        """Says to the application when it answers, and that the end has come, before it waits."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                for begin in getattr(app.state, "begun", ()):
                    begin()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for end in getattr(app.state, "ending", ()):
                end()
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app,
            http=protocol(getattr(app.state, "settings", Settings())),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(drain_seconds + _FLUSH_SECONDS),
        )
    )


def check_address(host: str, keys: ApiKeys | None, public: bool = False) -> None:
    """Refuse to be reachable from other machines without a key, unless that is what is wanted."""
    if keys is not None or _is_loopback(host):
        return
    if not public:
        raise AuroraError(
            f"{host} can be reached from other machines, and no API key is set: anyone could use "
            "the model. Set keys with --api-key-file, listen on 127.0.0.1, or say --public if "
            "anyone may."
        )
    logger.warning("Anyone who can reach %s may use the model: no API key is set.", host)


def check_folder(folder: Path) -> None:
    """Refuse what is no folder, and a chat template that the evidence of the folder does not name.

    Raises:
        AuroraError: the sentence says which.
    """
    if not folder.is_dir():
        raise AuroraError(f"{folder} is not a folder: name a model folder.")
    if not (folder / evidence.FILE).is_file():
        return
    known = evidence.subject(evidence.read(folder / evidence.FILE)).get(_TEMPLATE)
    path = folder / _TEMPLATE
    if known is None or (path.is_file() and evidence.sha256_file(path) == known):
        return
    if not path.is_file():
        raise AuroraError(f"{path} is missing, which {evidence.FILE} names: copy the whole folder.")
    raise AuroraError(
        f"{path} is not the chat template that the model was trained and evaluated with "
        f"({evidence.FILE} names SHA-256 {known[:12]}…). Restore it, or make the folder again."
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, before anything slow is done."""
    if not 0 <= port < 2**16:
        raise AuroraError(f"{port} is not a port: choose one from 1 to 65535 (--port).")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
        # connections take both over from the socket that listens
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * _UNREAD_SECONDS)
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AuroraError(
                f"Port {port} on {host} is in use. Stop what listens there, or choose another "
                f"port: --port {port + 1}."
            ) from None
        raise AuroraError(
            f"Cannot listen on {host}, port {port}: {error.strerror}. Choose --host and --port."
        ) from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
