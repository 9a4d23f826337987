"""One logger for the whole package: plain lines on stderr, rank 0 only."""

import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from typing import Any, TextIO


def configure(verbose: bool = False, stream: TextIO | None = None) -> None:
    """Send the package's log to stderr (or `stream`) and quiet the libraries below it."""
    handler: logging.Handler = logging.StreamHandler(stream) if stream else _Stderr()
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("aurora_release")
    logger.handlers = [handler]
    logger.propagate = False
    rank_zero = os.environ.get("RANK", "0") == "0"
    logger.setLevel(logging.DEBUG if verbose else logging.INFO if rank_zero else logging.ERROR)
    quiet_libraries()


def as_json() -> None:
    """Write the log as JSON lines, that of the HTTP server too."""
    ours = logging.getLogger("aurora_release")
    for handler in ours.handlers:
        handler.setFormatter(_Json())
    logging.getLogger("uvicorn").handlers = ours.handlers


@contextmanager
def nothing_on_stdout() -> Iterator[None]:
    """Send to standard error what is printed meanwhile, by libraries and processes too.

    Standard output is for the answer of a command, which a program may want to read.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def quiet_libraries() -> None:
    """Turn off the progress bars and notices of libraries: one voice speaks to the user, ours."""
    for key, value in {
        "DS_ACCELERATOR": os.environ.get("DS_ACCELERATOR", "") or _accelerator(),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TQDM_DISABLE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "GRADIO_ANALYTICS_ENABLED": "False",
        # OpenMP spins at barriers without end by default: fifty times slower on a busy machine.
        # Sleeping at once costs a fifth on a quiet one, so libgomp may spin for microseconds.
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "20000",
    }.items():
        os.environ.setdefault(key, value)
    for name in ("DeepSpeed", "bitsandbytes", "torchao", "torch.utils._pytree", "httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed.*")


def _accelerator() -> str:
    """Return what DeepSpeed runs on, found without importing torch."""
    return "cuda" if os.path.exists("/dev/nvidiactl") else "cpu"


class _Json(logging.Formatter):
    """One JSON object a line; `fields` of a record stand beside its message's keys."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None)
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **({"message": record.getMessage()} if fields is None else fields),
        }
        if record.exc_info:
            # where and what kind, not its message: that could quote a prompt
            kind, _, trace = record.exc_info
            line["exception"] = kind.__name__ if kind else ""
            line["trace"] = "".join(traceback.format_tb(trace))
        return json.dumps(line, ensure_ascii=False)


class _Stderr(logging.StreamHandler[Any]):
    """Writes to what is standard error now: a live display puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)
