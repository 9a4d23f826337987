"""The `aurora` command in a process of its own."""

import subprocess
import sys
from pathlib import Path


def aurora(
    *arguments: str, cwd: Path | None = None, typed: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it and return how it ended; `typed` is what stands on its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "aurora_release", *arguments],
        capture_output=True, text=True, check=False, cwd=cwd, input=typed,
    )  # fmt: skip
