"""Engines that are servers of their own: child processes, asked over a socket that is a file."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.serve.engines import keeper
from aurora_release.serve.engines.openai_dialect import OpenAIDialect
from aurora_release.serve.engines.protocol import EngineStats, ModelFacts
from aurora_release.serve.engines.remote import RemoteEngine
from aurora_release.serve.engines.replica import Replica
from aurora_release.serve.engines.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_LINES = 30
"""Of what a child wrote last, kept for the message about its end."""

_CHECK_SECONDS = 0.2
_PATIENCE_SECONDS = 8.0
"""For the last words of a process that has ended."""

Command = Callable[[Path], Sequence[str]]
"""Given the path of the socket to listen on, what to run."""


class Child:
    """A process that ends with this one."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self._process = subprocess.Popen(
            [sys.executable, "-I", keeper.__file__, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
        self._said: deque[str] = deque(maxlen=_LINES)
        self._reader = threading.Thread(target=self._read, name="child", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return the last lines it wrote, once it has ended."""
        self._reader.join(_PATIENCE_SECONDS)
        return "\n".join(self._said)

    def stop(self) -> None:
        """End it, and wait until it and all it started are gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        # a killed keeper may leave somebody behind who holds the other end
        self._reader.join(_PATIENCE_SECONDS)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                text = line.decode(errors="replace").rstrip()
                self._said.append(text)
                logger.debug("%s", text)


class ChildEngine(RemoteEngine):
    """Generates in a child process that speaks OpenAI's protocol.

    The socket lies in a folder that only this user can open, so that nobody gets around the filter.
    """

    def __init__(
        self,
        what: str,
        command: Command,
        tokenizer: Any,
        facts: ModelFacts,
        environment: Mapping[str, str] | None = None,
    ):
        folder = Path(tempfile.mkdtemp(prefix="aurora-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._socket = folder / "engine.sock"
        dialect = OpenAIDialect(Vocabulary(tokenizer))
        replica = Replica(f"http://{what}", dialect, socket=self._socket)
        super().__init__([replica], tokenizer, facts)
        self._what = what
        self._command = command
        self._environment = environment or {}
        self._child: Child | None = None

    def start(self) -> None:
        """Start the process, if it does not run; it is ready some time later."""
        if self._child is not None and self._child.alive:
            return
        self._socket.unlink(missing_ok=True)
        self._child = Child(self._command(self._socket), self._environment)
        super().start()

    def wait(self) -> None:
        """Wait until the process answers.

        Raises:
            AuroraError: it ended; the message has its last lines.
        """
        logger.info(
            "%s reads the model; a large one takes minutes (-v shows what it says).", self._what
        )
        try:
            while not self.stats().ready:
                assert self._child is not None
                if not self._child.alive:
                    raise AuroraError(
                        f"{self._what} ended before it was ready. It said last:\n"
                        f"{self._child.last_words()}"
                    )
                time.sleep(_CHECK_SECONDS)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process; requests that are still running fail."""
        super().stop()
        if self._child is not None:
            self._child.stop()

    def stats(self) -> EngineStats:
        """Return what the engine is doing now; it is not ready once its process has ended."""
        alive = self._child is not None and self._child.alive
        found = super().stats()
        return replace(found, ready=found.ready and alive, waits=alive)
