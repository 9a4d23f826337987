"""SHA256SUMS: the digest of every file of a release, and of the list itself."""

import re
from pathlib import Path

from aurora_release import atomic, evidence, parse
from aurora_release.errors import AuroraError

FILE = evidence.SUMS

_LAST = "# sha256 of the lines above: "
_LINE = re.compile(r"([0-9a-f]{64})  ([^\\\r\n]+)")


def write(folder: Path) -> None:
    """Write the digest of every other file below `folder`, as `sha256sum -c` reads them.

    Raises:
        AuroraError: a name that the format has no plain spelling for.
    """
    found = evidence.digests(folder, leave_out=(FILE, evidence.SIGNATURE))
    for name in found:
        if not _LINE.fullmatch(f"{'0' * 64}  {name}"):
            raise AuroraError(f"{name!r} in {folder} cannot be listed in {FILE}: rename it.")
    atomic.write_text(folder / FILE, _text(found))


def read(folder: Path) -> dict[str, str]:
    """Return {name: SHA-256} of a list whose last line proves it whole.

    Raises:
        AuroraError: the list is missing, was changed, or names a file outside the folder.
    """
    path = folder / FILE
    if not path.is_file():
        raise AuroraError(f"{FILE} is missing.")
    try:
        content = parse.content(path)
    except ValueError as error:
        raise AuroraError(f"{FILE} is no list of a release: {error}.") from None
    lines = content.decode(errors="replace").splitlines()
    found = {match[2]: match[1] for line in lines if (match := _LINE.fullmatch(line))}
    if content != _text(found).encode():
        raise AuroraError(f"{FILE} was changed: its last line does not match the lines above.")
    for name in found:
        if name.startswith("/") or ".." in name.split("/"):
            raise AuroraError(f"{FILE} names {name}, which lies outside the release.")
    return found


def _text(digests: dict[str, str]) -> str:
    """Return the list; a comment ends it, which `sha256sum -c` passes over."""
    body = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return f"{body}{_LAST}{evidence.sha256(body.encode())}\n"
