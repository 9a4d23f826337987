"""Signs of life between machines that share a file system: the time of a file that is touched.

Both times that are compared were set by the file system, so clocks of machines need not agree.
"""

import os
from pathlib import Path

BEAT = 10.0
"""Seconds between two signs of life."""

SILENCE = 120.0
"""Seconds without one after which a process on another machine is taken for dead."""


def beat(path: Path) -> None:
    """Give a sign of life in a file, which must be there: a late one makes no file again."""
    os.utime(path)


def silent(path: Path, mine: Path, silence: float = SILENCE) -> bool:
    """Return whether the last sign in `path` is `silence` older than that just given in `mine`."""
    return os.stat(mine).st_mtime - os.stat(path).st_mtime > silence
