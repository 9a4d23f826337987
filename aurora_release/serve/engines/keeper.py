"""Runs a command for as long as whoever started it lives; a file of its own, not imported.

It ends the command, and every process that the command started, once its standard input ends: when
the other end is closed, or its process is gone, however that came. Where it is itself killed, Linux
kills the command.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

_SECONDS = 8.0
"""From the request to end to the end."""

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(child: "subprocess.Popen[bytes]") -> None:
    sys.stdin.buffer.read()
    os.killpg(child.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(_SECONDS)
    os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    # Ctrl-C in a terminal reaches this process too: it is for the server, which ends us in time.
    # A function, as the command would inherit that a signal is ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    # the other interpreter has packages of its own
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = subprocess.Popen(
        sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True, env=environment,
        preexec_fn=_die_with_parent,
    )  # fmt: skip
    threading.Thread(target=_end, args=(command,), daemon=True).start()
    status = command.wait()
    with suppress(ProcessLookupError):
        os.killpg(command.pid, signal.SIGKILL)
    os._exit(status & 0xFF)  # the thread still reads: Python would stumble over it as it ends
