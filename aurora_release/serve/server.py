"""One command from a model folder to a listening server."""

import errno
import ipaddress
import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from aurora_release import evidence
from aurora_release.errors import AuroraError
from aurora_release.serve.audit import AuditLog
from aurora_release.serve.engines.choose import Choice, open_engine
from aurora_release.serve.engines.embedded import Limits
from aurora_release.serve.settings import Settings
from aurora_release.shipped import shipped

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from aurora_release.safety.policy import Policy

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 30
"""How long running answers may go on after SIGTERM."""

_SHORTEST_KEY = 16

_TEMPLATE = "chat_template.jinja"


def serve(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    policy: Path | None = None,
    api_key_file: Path | None = None,
    audit_log: Path | None = None,
    limits: Limits | None = None,
    choice: Choice | None = None,
) -> None:
    """Serve the model in `folder` until SIGTERM or Ctrl-C; port 0 takes a free one.

    Raises:
        AuroraError: the address cannot be listened on, or not without a key; the key, the model
            folder or the policy cannot be read; the audit log cannot be written.
    """
    api_key = None if api_key_file is None else read_key(api_key_file)
    check_address(host, api_key)
    check_template(folder)
    with listen(host, port) as listener:
        from aurora_release.safety.guard import Guard
        from aurora_release.serve.app import create_app

        guard = Guard.load(policy or shipped("serve/policies/default.yaml"))
        audit = None if audit_log is None else AuditLog(audit_log, guard.policy.digest)
        engine = open_engine(folder, choice or Choice(), limits)
        port = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        logger.info("Serving %s (%s) at http://%s:%d", folder, engine.facts.dtype, shown, port)
        logger.info("Chat page: http://%s:%d/chat   OpenAI base URL: .../v1", shown, port)
        announce(guard.policy)
        settings = Settings(
            api_key=api_key,
            stream=guard.policy.stream,
            fail_closed=guard.policy.fail_closed,
            audit_log=audit,
        )
        run(create_app(engine, guard, settings), listener)


def announce(policy: "Policy") -> None:
    """Say in the log what the filter does to answers, loudly where it does little."""
    mode = policy.stream.mode
    said = {
        "off": "the filter of answers is OFF: what the model says leaves unjudged",
        "flag": "harmful answers are ONLY FLAGGED: they leave, counted and logged",
        "redact": "harmful segments of answers are replaced by a notice",
        "block": "harmful answers are blocked",
    }
    level = logging.WARNING if mode in ("off", "flag") else logging.INFO
    logger.log(level, "Policy %s (%.12s): %s.", policy.name, policy.digest, said[mode])
    if not policy.fail_closed:
        logger.warning("fail_closed is false: what could NOT BE JUDGED leaves, flagged.")


def run(app: "FastAPI", listener: socket.socket) -> None:
    """Answer requests on `listener`; on SIGTERM finish the running ones first."""
    server = http_server(app)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        # uvicorn repeats Ctrl-C once everything is shut down: the user got what was asked for
        return
    if not server.started:
        raise AuroraError("The server did not start; the reason stands above in the log.")


def http_server(app: "FastAPI") -> "uvicorn.Server":
    """Return the HTTP server for `app`, not running yet."""
    import uvicorn

    class Server(uvicorn.Server):
        """Does not wait for chat pages that are only open."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            getattr(app.state, "let_go_of_pages", lambda: None)()
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )


def check_address(host: str, api_key: str | None) -> None:
    """Refuse to be reachable from other machines without a key."""
    if api_key is not None or _is_loopback(host):
        return
    raise AuroraError(
        f"{host} can be reached from other machines, and no API key is set: anyone could use the "
        "model. Set a key with --api-key-file, or listen on 127.0.0.1."
    )


def read_key(path: Path) -> str:
    """Return the key in a file, without the line end after it."""
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AuroraError(f"{path} cannot be read as a key file ({error}): name another.") from None
    if len(key) < _SHORTEST_KEY or not key.isprintable():
        raise AuroraError(
            f"{path} holds no key of {_SHORTEST_KEY} or more characters on one line. Make one: "
            f"openssl rand -hex 32 > {path}"
        )
    return key


def check_template(folder: Path) -> None:
    """Refuse a chat template other than the one that the evidence of the folder names."""
    if not (folder / evidence.FILE).is_file():
        return
    known = evidence.subject(evidence.read(folder / evidence.FILE)).get(_TEMPLATE)
    path = folder / _TEMPLATE
    if known is None or (path.is_file() and evidence.sha256_file(path) == known):
        return
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
        return socket.create_server(address[:2], family=family, backlog=2048)
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
