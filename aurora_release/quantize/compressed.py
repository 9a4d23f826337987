"""compressed-tensors, vLLM's own format: W8A8 and W4A16, written by llmcompressor.

llmcompressor holds transformers back, so it works in an environment of its own, which is found as
llama.cpp is: beside this one, or where `AURORA_LLMCOMPRESSOR` says.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from aurora_release.errors import AuroraError
from aurora_release.quantize.folder import configuration, take_over


def interpreter() -> Path:
    """Return the Python that has llmcompressor.

    Raises:
        AuroraError: there is none; the message says how to get it.
    """
    beside = Path(sys.prefix) / "llmcompressor" / "bin" / "python"
    found = Path(os.environ.get("AURORA_LLMCOMPRESSOR", beside)).expanduser()
    if not found.is_file():
        folder = beside.parents[1]
        raise AuroraError(
            "compressed-tensors is written by llmcompressor, which holds transformers back and "
            f"needs an environment of its own: python -m venv {folder} && {beside} -m pip install "
            "torch==2.13.0 llmcompressor==0.14.0.1 (AURORA_LLMCOMPRESSOR names another Python "
            "that has it). Or choose gptq, whose 4 bits vLLM reads."
        )
    return found


def compressed(
    source: Path, out: Path, *, scheme: str, group_size: int, samples: Sequence[Sequence[int]]
) -> int | None:
    """Write the variant of the model in `source` to `out`; return the peak memory in bytes.

    Raises:
        AuroraError: llmcompressor is not there, or could not do it; the message holds its last
            line.
    """
    configuration(source)
    job = {
        "source": str(source.resolve()), "out": str(out.resolve()), "scheme": scheme,
        "group_size": group_size, "samples": [list(ids) for ids in samples],
    }  # fmt: skip
    script = Path(__file__).with_name("compressed_job.py")
    # it writes logs into the working folder
    with tempfile.TemporaryDirectory(prefix=".compressed-", dir=out) as scratch:
        done = subprocess.run(
            [interpreter(), "-I", script], input=json.dumps(job), cwd=scratch,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AuroraError(f"llmcompressor could not write {source} as {scheme}: {last}")
    # how it was made, with the paths of this machine
    (out / "recipe.yaml").unlink(missing_ok=True)
    take_over(source, out)
    peak: int | None = json.loads(done.stdout.splitlines()[-1])["peak"]
    return peak
