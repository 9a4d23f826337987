"""API keys: names, digests and limits, in a file from which no key can be read."""

import hmac
import logging
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path

from aurora_release import atomic
from aurora_release.errors import AuroraError, meant

logger = logging.getLogger(__name__)

_SHORTEST = 16
_LARGEST = 2**24
"""Bytes of a file of keys."""

_LINE = re.compile(r"(?P<name>\S+)\s+sha256:(?P<digest>[0-9a-f]{64})(?P<limits>(?:\s+\S+)*)")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class KeyLimits:
    """What one key may use; None is no limit. What is used of a minute is counted in memory."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Of prompts and answers."""
    tokens_per_day: int | None = None


@dataclass(frozen=True)
class ApiKey:
    """A key by its name; only its digest is known."""

    name: str
    """Stands in logs and metrics."""
    digest: bytes
    """SHA-256. A key is 256 random bits: there is nothing to guess, so no slow hash is needed."""
    limits: KeyLimits = KeyLimits()


class ApiKeys:
    """The keys a server accepts; a file that changes is read again."""

    def __init__(self, keys: Sequence[ApiKey], path: Path | None = None):
        self._keys = tuple(keys)
        self.path = path
        """The file they were read from, if any."""
        self._version = None if path is None else _version(path)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._keys)

    @property
    def have_quotas(self) -> bool:
        """Whether any of them has a limit for the day."""
        return any(key.limits.tokens_per_day is not None for key in self._keys)

    def find(self, shown: str) -> ApiKey | None:
        """Return the key a client shows, if it is one of ours; all are compared, in equal time."""
        self._refresh()
        digest = sha256(shown.encode()).digest()
        found = [key for key in self._keys if hmac.compare_digest(key.digest, digest)]
        return found[0] if found else None

    def _refresh(self) -> None:
        """Read the file again if it changed; while it is broken, the keys known so far stay.

        One without a line is not broken: its last key was taken back.
        """
        if self.path is None or (version := _version(self.path)) == self._version:
            return
        self._version = version
        try:
            text = _text(self.path)
            self._keys = _parsed(self.path, text) if _lines(text) else ()
            logger.info(
                "The key file %s changed; keys accepted now: %d.", self.path, len(self._keys)
            )
            if not self._keys:
                logger.warning("%s holds no key any more: every client is refused.", self.path)
        except AuroraError as error:
            logger.error("The API keys stay as they were: %s", error)


def one(key: str) -> ApiKeys:
    """Return a single key without limits."""
    return ApiKeys([ApiKey("default", sha256(key.encode()).digest())])


def read(path: Path) -> ApiKeys:
    """Return the keys in a file: lines of `aurora keys api`, or one line that is the key itself.

    Raises:
        AuroraError: the file cannot be read, or holds no key, or a line that is none.
    """
    if not path.exists():
        raise AuroraError(
            f"There is no key file {path}. Make it with a first key: aurora keys api NAME {path}"
        )
    return ApiKeys(_parsed(path, _text(path)), path)


def add(path: Path, name: str, limits: KeyLimits) -> str:
    """Make a key, append its line to the file (made where there is none), and return the key.

    Raises:
        AuroraError: the name is none or taken, or the file cannot be read or holds a plain key.
    """
    if not _NAME.fullmatch(name):
        raise AuroraError(
            f"{name!r} is no name for a key: use letters, digits, and "
            "`.`, `_` or `-` behind the first."
        )
    if not path.absolute().parent.is_dir():
        raise AuroraError(f"{path.parent} is no folder: make it, or name another file.")
    text = _text(path) if path.exists() else ""
    if any(key.name == name for key in (_parsed(path, text) if text.strip() else ())):
        raise AuroraError(f"{path} has a key named {name}: delete its line first, or name another.")
    if text.strip() and not _LINE.fullmatch(text.strip().splitlines()[-1].strip()):
        raise AuroraError(f"{path} holds a plain key, to which none can be added: use a new file.")
    key = f"sk-aurora-{secrets.token_urlsafe(32)}"
    given = {limit.name: getattr(limits, limit.name) for limit in fields(limits)}
    words = [f"{limit}={most}" for limit, most in given.items() if most is not None]
    line = " ".join([name, f"sha256:{sha256(key.encode()).hexdigest()}", *words])
    atomic.write_text(path, f"{text.rstrip()}\n{line}\n".lstrip("\n"))
    return key


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
        return content.decode()
    except (OSError, ValueError) as error:
        raise AuroraError(f"{path} cannot be read as a key file ({error}): name another.") from None


def _lines(text: str) -> list[tuple[int, str]]:
    """Return the lines that should be keys, with their numbers."""
    numbered = enumerate((line.strip() for line in text.splitlines()), 1)
    return [(number, line) for number, line in numbered if line and not line.startswith("#")]


def _parsed(path: Path, text: str) -> tuple[ApiKey, ...]:
    lines = _lines(text)
    if len(lines) == 1 and not _LINE.fullmatch(lines[0][1]):
        return (_plain(path, *lines[0]),)
    keys = tuple(_key(f"{path}, line {number}", line) for number, line in lines)
    if not keys:
        raise AuroraError(f"{path} holds no key. Make one: aurora keys api NAME {path}")
    if len({key.name for key in keys}) < len(keys):
        raise AuroraError(f"{path} names two keys alike: give each a name of its own.")
    return keys


def _plain(path: Path, number: int, key: str) -> ApiKey:
    if len(key) < _SHORTEST or not key.isprintable() or " " in key:
        raise AuroraError(
            f"{path}, line {number} is no key: `aurora keys api NAME FILE` writes NAME "
            f"sha256:DIGEST; a key itself has {_SHORTEST} or more characters and no space."
        )
    return ApiKey("default", sha256(key.encode()).digest())


def _key(where: str, line: str) -> ApiKey:
    """Return the key of a line NAME sha256:DIGEST LIMIT=NUMBER…"""
    found = _LINE.fullmatch(line)
    if found is None or not _NAME.fullmatch(found["name"]):
        raise AuroraError(f"{where} is no key: aurora keys api writes NAME sha256:DIGEST.")
    known = [limit.name for limit in fields(KeyLimits)]
    limits: dict[str, int] = {}
    for word in found["limits"].split():
        limit, _, most = word.partition("=")
        if limit not in known or not re.fullmatch("[1-9][0-9]{0,17}", most):
            raise AuroraError(
                f"{where}: {word[:100]} is no limit; they are {', '.join(known)}, as in "
                f"tokens_per_minute=10000.{meant(limit, known)}"
            )
        limits[limit] = int(most)
    return ApiKey(found["name"], bytes.fromhex(found["digest"]), KeyLimits(**limits))


def _version(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced or written."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
