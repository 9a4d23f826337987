"""The audit log: what the filter decided, line by line, without a word of what it judged."""

import errno
import hmac
import json
import logging
import os
import secrets
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from aurora_release.errors import AuroraError

logger = logging.getLogger(__name__)

MAX_BYTES = 50 * 2**20
FILES = 10
"""The log, and nine older ones beside it: FILE.1 is the youngest."""


@dataclass(frozen=True)
class Decision:
    """What was decided about one text."""

    request: str
    """The id of the request."""
    part: int
    """Which text of the prompt (`input`), or which answer of the request (`output`)."""
    direction: str
    channel: str
    """`text`, `reasoning`, `likely`, or `tool` and the number of the call."""
    position: int
    """Characters of the channel before the text."""
    characters: int
    action: str
    category: str | None
    score: float
    language: str
    guards: tuple[str, ...]
    """The guards that judged."""
    failure: str | None
    """`error` or `timeout` where the judge gave no verdict."""
    milliseconds: float
    """What judging took, waiting for others included."""
    http_request: str = ""
    """The `X-Request-Id` of the HTTP request, as in the log of requests."""
    key: str = ""
    """The name of the API key that was sent; empty without keys."""


class AuditLog:
    """Appends decisions to a file as JSON lines; a full file makes room for a new one.

    A text is named by an HMAC-SHA-256 under a key that lives as long as this object and is written
    nowhere. A plain hash of a short text can be guessed by hashing candidates; this one cannot, and
    equal texts of one run still show as equal. The price: no text can be looked up after a restart.
    """

    def __init__(self, path: Path, policy_digest: str, max_bytes: int = MAX_BYTES):
        self._path = path
        self._policy = policy_digest
        self._max_bytes = max_bytes
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._failing = False
        try:
            self._append(b"")
        except OSError as error:
            raise AuroraError(
                f"{path} cannot be written as an audit log ({error.strerror}): name another file "
                "with --audit-log."
            ) from None

    def write(self, decision: Decision, text: str) -> None:
        """Append one line; where that fails the log of the server says so, and serving goes on."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, **asdict(decision), "digest": self._digest(text)}
        line |= {"policy": self._policy, "score": round(decision.score, 4)}
        content = json.dumps(line, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                self._append(content)
            self._failing = False
        except OSError as error:
            if not self._failing:
                logger.error("The audit log %s cannot be written: %s.", self._path, error.strerror)
            self._failing = True

    def _digest(self, text: str) -> str:
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()

    def _append(self, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = os.open(self._path, flags, 0o600)
        try:
            if os.fstat(file).st_size + len(content) > self._max_bytes:
                os.close(file)
                self._rotate()
                file = os.open(self._path, flags, 0o600)
            whole = os.fstat(file).st_size
            if os.write(file, content) < len(content):
                # a full disk took half of the line
                os.ftruncate(file, whole)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        finally:
            os.close(file)

    def _rotate(self) -> None:
        for number in range(FILES - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path.with_name(f"{self._path.name}.{number - 1}")
            source = newer if number > 1 else self._path
            if source.exists():
                source.replace(older)
