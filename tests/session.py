"""Runs `aurora` commands one after another in one process, as `python -m tests.session`.

Standard input: a line of JSON for each: its words, what it reads, and the file that it writes
into, if any. Standard output: a line of JSON for each, its exit code and what it said. Imports,
which take longest, are shared.
"""

import contextlib
import io
import json
import sys
from pathlib import Path

from aurora_release.cli import main


def run(words: list[str], typed: str, into: str) -> tuple[int, str]:
    """Return the exit code of a command and all that it wrote."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["aurora", *words]
    sys.stdin = io.TextIOWrapper(io.BytesIO(typed.encode()), "utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    if into:
        Path(into).write_text(out.getvalue(), "utf-8")
    return code, out.getvalue() + err.getvalue()


if __name__ == "__main__":
    asked, answers = sys.stdin, sys.stdout
    for line in list(asked):
        answers.write(json.dumps(run(*json.loads(line))) + "\n")
        answers.flush()
