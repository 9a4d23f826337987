"""Secrets and personal paths in the files of a release."""

import os
import re
from pathlib import Path

from aurora_release.data.clean.mask import mask

_HEAD = 8 * 2**20
"""Bytes of a binary file that are searched: GGUF's own texts come first, then weights."""

_DIGEST = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{64}(?![0-9A-Za-z])")
_PERSONAL = re.compile(r"(?<![\w.-])(?:/home/|/Users/|[A-Za-z]:[\\/]{1,2}Users[\\/]{1,2})[\w.-]+")


def scan(folder: Path) -> list[str]:
    """Return a sentence for each file with a secret, and for each path into somebody's home."""
    return [
        f"{path.relative_to(folder).as_posix()}, {sentence}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for sentence in secrets(path)
    ]


def secrets(path: Path) -> list[str]:
    """Return a sentence for the first secret in a file and for each personal path."""
    return _sentences(text(path))


def text(path: Path) -> str:
    """Return what can be read in a file: all of a text, the head of anything else."""
    with path.open("rb") as file:
        start = file.read(8)
        if path.suffix == ".safetensors":
            return file.read(min(int.from_bytes(start, "little"), _HEAD)).decode(errors="replace")
        try:
            return (start + file.read(_HEAD - 8)).decode() + file.read().decode()
        except UnicodeDecodeError:
            file.seek(0)
            return file.read(_HEAD).decode("latin-1")


def _sentences(content: str) -> list[str]:
    # a digest beside a word such as "token" is no password
    plain = _DIGEST.sub("0" * 64, content)
    masked, counts = mask(plain, pii=False)
    found = []
    if counts:
        line = plain.count("\n", 0, len(os.path.commonprefix([plain, masked]))) + 1
        found.append(f"line {line}: a secret (a key, a token or a password).")
    found += [
        f"line {content.count(chr(10), 0, match.start()) + 1}: the personal path {match.group()}."
        for match in _paths().finditer(content)
    ]
    return list(dict.fromkeys(found))


def _paths() -> re.Pattern[str]:
    """Return what is personal: homes as systems name them, and the home of who publishes."""
    home = re.escape(str(Path.home()))
    return re.compile(rf"{_PERSONAL.pattern}|(?<![\w.-]){home}(?=[/\\])")
