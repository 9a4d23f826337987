"""The snippet that a card shows, executed on the trained model; what it printed is evidence."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from aurora_release import atomic, evidence
from aurora_release.card.chain import Chain, at
from aurora_release.errors import AuroraError
from aurora_release.run import Job
from aurora_release.shipped import shipped

STAGE = "snippet"
FILE = "model_card/snippet.txt"


def code() -> str:
    """Return the snippet."""
    return shipped(FILE).read_text(encoding="utf-8")


def execute(job: Job) -> dict[str, Any]:
    """Execute the snippet in the folder of the trained model; keep and return what it printed.

    Raises:
        AuroraError: it fails, so that a card would show what does not work.
    """
    found = _run(code(), job.before[job.recipe.final])
    atomic.write_text(job.folder / "printed.txt", found["printed"])
    return found


def facts(chain: Chain) -> dict[str, Any]:
    """Return the snippet, and what it printed; None where this one was not executed."""
    text = code()
    same = at(chain, STAGE, "measured", "sha256") == evidence.sha256(text.encode())
    return {
        "code": text,
        "printed": at(chain, STAGE, "measured", "printed") if same else None,
        "transformers": at(chain, STAGE, "environment", "packages", "transformers"),
    }


def _run(text: str, folder: Path) -> dict[str, Any]:
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder, env={**os.environ, **quiet}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise AuroraError(
            f"The snippet of the card does not work on the model in {folder}: {reason} "
            f"Mend {shipped(FILE)}."
        )
    return {"sha256": evidence.sha256(text.encode()), "printed": done.stdout}
