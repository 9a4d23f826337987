"""Runs a step in a process of its own: quiet, and with a peak memory that is its own."""

import logging
import multiprocessing
import os
import tempfile
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.log import configure

log = logging.getLogger(__name__)


def apart(function: Callable[..., None], *arguments: Any, **options: Any) -> int | None:
    """Call a function in a fresh process and return its peak memory in bytes.

    What the function raises is raised here, and what it says through our log is said; None where
    the system does not tell the peak.

    Raises:
        AuroraError: the process was killed, which is what a system short of memory does.
    """
    with tempfile.NamedTemporaryFile(prefix="aurora-", suffix=".log") as output:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(
            1, context, _quiet, (output.name, log.getEffectiveLevel())
        ) as pool:
            try:
                return pool.submit(_measured, function, arguments, options).result()
            except BrokenProcessPool:
                log.error("%s", _tail(Path(output.name)))
                raise AuroraError(
                    f"The process of {function.__name__} was killed; most likely memory ran out. "
                    "Free some, or use a machine with more."
                ) from None


def _quiet(output: str, level: int) -> None:
    """Send everything a library prints to a file, whichever way it prints; our log still speaks."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    voice = os.fdopen(os.dup(2), "w", encoding="utf-8")
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    configure(stream=voice)
    logging.getLogger("aurora_release").setLevel(level)
    warnings.simplefilter("ignore")


def _end_with_parent() -> None:
    """End when the parent was killed: what is left behind would write into its next attempt."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _measured(
    function: Callable[..., None], arguments: tuple[Any, ...], options: dict[str, Any]
) -> int | None:
    function(*arguments, **options)
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    # not ru_maxrss: a spawned process inherits that from its parent
    peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
    return peaks[0] if peaks else None


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
