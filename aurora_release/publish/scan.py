"""Secrets and personal paths in the files of a release."""

import codecs
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
        header = int.from_bytes(start, "little")
        # a file that only bears the name of weights has no header: a key may lie in it
        if path.suffix == ".safetensors" and header <= path.stat().st_size - 8:
            return file.read(min(header, _HEAD)).decode(errors="replace")
        if wide := _wide(start):
            return (start + file.read()).decode(wide, errors="replace")
        text = codecs.getincrementaldecoder("utf-8")()  # a letter may lie across the end of _HEAD
        try:
            return text.decode(start + file.read(_HEAD - 8)) + text.decode(file.read(), final=True)
        except UnicodeDecodeError:
            file.seek(0)
            return file.read(_HEAD).decode("latin-1")


def _wide(start: bytes) -> str | None:
    """Return which UTF-16 a file begins in, by its mark or by the zeros beside its letters."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for at, name in ((0, "utf-16-le"), (1, "utf-16-be")):
        if len(start) == 8 and all(start[at::2]) and not any(start[1 - at :: 2]):
            return name
    return None


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
