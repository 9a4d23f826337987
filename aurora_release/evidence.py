"""What went into a stage, what came out, with what, and what was measured: one file a stage."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aurora_release import atomic, parse
from aurora_release.errors import AuroraError

FILE = "evidence.json"
SUMS = "SHA256SUMS"
SIGNATURE = "model.sig"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:aurora-release:stage:v1"

_CHUNK = 2**20
"""Bytes read at a time."""


def sha256(content: bytes) -> str:
    """Return the SHA-256 of `content` in hex."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path, done: Callable[[int], None] = lambda size: None) -> str:
    """Return the SHA-256 of a file in hex, reading it in constant memory.

    `done` is told of the bytes as they are read.
    """
    digest, buffer = hashlib.sha256(), bytearray(_CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(view[:size])
            done(size)
    return digest.hexdigest()


def sha256_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder: of its files' names and digests, sorted."""
    return sha256(canonical(digests(path, ()))) if path.is_dir() else sha256_file(path)


def digests(
    folder: Path,
    leave_out: Iterable[str] = (FILE, SUMS, SIGNATURE),
    done: Callable[[int], None] = lambda size: None,
) -> dict[str, str]:
    """Return {relative name: SHA-256} of every file below `folder`, hashed in parallel.

    `done` is told, from any thread, of the bytes as they are read.
    """
    skip = set(leave_out)
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()
    )
    names = [name for name in names if name not in skip]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda name: sha256_file(folder / name, done), names)
        return dict(zip(names, found, strict=True))


def digests_of_code(folder: Path) -> dict[str, str]:
    """Return {relative name: SHA-256} of the Python files below `folder`."""
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in sorted(folder.rglob("*.py"))
    }


def canonical(value: Any) -> bytes:
    """Return canonical JSON: sorted keys, UTF-8, no spaces, floats at 9 significant digits."""
    return json.dumps(
        plain(value), sort_keys=True, ensure_ascii=False, separators=(",", ":")
    ).encode()


def plain(value: Any) -> Any:
    """Return `value` as JSON would give it back; a number that is no number is an error."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be evidence: only finite numbers can")
        return float(f"{value:.9g}")
    raise TypeError(f"{type(value).__name__} cannot be evidence")


def statement(subject: Mapping[str, str], predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return an in-toto Statement about the files of `subject` ({name: SHA-256})."""
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subject.items())
        ],
        "predicateType": PREDICATE,
        "predicate": dict(predicate),
    }


def write(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the evidence of the stage in `folder`."""
    atomic.write_bytes(folder / FILE, canonical(content) + b"\n")


def read(path: Path) -> dict[str, Any]:
    """Return the statement in an evidence file.

    Raises:
        AuroraError: the file is missing, is not JSON, or is not a statement of ours.
    """
    if not path.is_file():
        raise AuroraError(f"{path} is missing: this folder was not written by aurora.")
    try:
        content = parse.json_text(parse.content(path))
    except ValueError as error:
        raise AuroraError(f"{path} is not valid JSON ({error}): it was changed.") from None
    if not isinstance(content, dict) or content.get("predicateType") != PREDICATE:
        raise AuroraError(f"{path} is not evidence of an aurora stage.")
    if not _is_statement(content):
        raise AuroraError(f"{path} is not complete evidence of a stage: it was changed.")
    return content


def _is_statement(content: Mapping[str, Any]) -> bool:
    """Return whether a statement has what `subject` and `measured` take out of it."""
    try:
        digests = subject(content)
        return isinstance(measured(content), dict) and all(
            isinstance(name, str) and isinstance(digest, str) for name, digest in digests.items()
        )
    except (KeyError, TypeError):
        return False


def subject(content: Mapping[str, Any]) -> dict[str, str]:
    """Return {name: SHA-256} of the files a statement is about."""
    return {entry["name"]: entry["digest"]["sha256"] for entry in content["subject"]}


def measured(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a stage measured."""
    found: dict[str, Any] = content["predicate"]["measured"]
    return found
