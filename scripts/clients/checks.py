"""Runs what a client can do, one call after another, and says line by line what came of it."""

import json
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version


def report(package: str, calls: list[Callable[[], None]]) -> None:
    """Write one line of JSON a call: the client, its version, the call, and its fault or null."""
    for call in calls:
        fault = None
        try:
            call()
        except Exception as error:
            traceback.print_exc()
            fault = f"{type(error).__name__}: {error}"[:200]
        line = {"client": package, "version": version(package), "call": call.__doc__}
        sys.stdout.write(json.dumps({**line, "fault": fault}) + "\n")
        sys.stdout.flush()
