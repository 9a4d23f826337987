"""The end of a server: it is no longer ready, finishes what runs, and in the end ends that too."""

import asyncio
import logging
from collections.abc import Sequence

from aurora_release.serve.generation import GuardedEngine

logger = logging.getLogger(__name__)


class Drain:
    """Begins with SIGTERM; what still runs after `seconds` ends with an error."""

    def __init__(self, models: Sequence[GuardedEngine], seconds: float):
        self._models = models
        self.seconds = seconds
        self.begun = False

    def begin(self) -> None:
        """Say that the server is going, and let answers run on for so long."""
        self.begun = True
        # not from within the signal's handler, which may have come in the middle of a line
        asyncio.get_running_loop().call_soon(
            logger.info, "Ending: no new requests; answers may run on for %g s.", self.seconds
        )
        for model in self._models:
            asyncio.get_running_loop().call_later(self.seconds, model.end)
