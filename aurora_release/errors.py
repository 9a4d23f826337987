"""The errors a person can mend, and how a command ends; everything else is a bug."""

import difflib
import errno
import os
from collections.abc import Iterable

EXIT_CODES = {
    0: "done, or there was nothing to do",
    1: "a bug: it keeps its traceback, please report it",
    2: "refused: a mistake in a command or a file, a check, gate or floor that does not hold, or a "
    "full disk; the message says what to do next",
    130: "stopped by Ctrl-C or SIGTERM; what was finished stays, the same command goes on",
}
"""What the exit code of `aurora` means."""

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG)

_LONGEST = 100
"""Letters of a word that are compared: the work grows with their square."""


class AuroraError(Exception):
    """One or two sentences: what was wrong (the value), where (file and key), what to do next."""

    exit_code = 2


class Interrupted(AuroraError):
    """Work stopped by Ctrl-C or SIGTERM after it was saved; the same command goes on from there."""

    exit_code = 130


def missing_extra(package: str, extra: str) -> AuroraError:
    """Return the error that names the pip command which brings `package`."""
    return AuroraError(
        f"{package} is not installed, and this command needs it: "
        f"pip install 'aurora-release[{extra}]'"
    )


def cannot_write(error: BaseException) -> str | None:
    """Return which folder the disk refused and why; None where an error is about something else.

    Libraries wrap what the system said, or only quote it: their causes and their words are read.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _DISK:
            return f"{seen.filename or os.getcwd()}: {seen.strerror}"
        for code in _DISK:
            if not isinstance(seen, OSError) and os.strerror(code) in str(seen):
                return f"{os.getcwd()}: {os.strerror(code)}"
        seen = seen.__cause__ or seen.__context__
    return None


def meant(word: str, known: Iterable[str], ask: str = " Did you mean") -> str:
    """Return ` Did you mean X?` where a known word is close to `word`, else nothing."""
    close = difflib.get_close_matches(word[:_LONGEST], list(known), 1)
    return f"{ask} {close[0]}?" if close else ""
