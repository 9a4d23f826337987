"""The end of a server: it is no longer ready, finishes what runs, and in the end ends that too."""

import asyncio

from aurora_release.serve.generation import GuardedEngine


class Drain:
    """Begins with SIGTERM; what still runs after `seconds` ends with an error."""

    def __init__(self, guarded: GuardedEngine, seconds: float):
        self._guarded = guarded
        self.seconds = seconds
        self.begun = False

    def begin(self) -> None:
        """Say that the server is going, and let answers run on for so long."""
        self.begun = True
        asyncio.get_running_loop().call_later(self.seconds, self._guarded.end)
