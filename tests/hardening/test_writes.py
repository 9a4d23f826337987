"""A disk that is full, broken or read-only: one sentence, nothing half-written, and once it is well
again the same command gives the same bytes.

All writes of all commands: `python -m tests.hardening.inject 100 full,broken,read-only`.
"""

import json
import shutil
import sys

import pytest

from tests.hardening.inject import KINDS, start

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or sys.platform != "linux",
    reason="writes are made to fail by a small C library, which needs Linux and a compiler (cc)",
)


@pytest.mark.parametrize(
    "command",
    ["api_key", "signing_key", "ledger_review", "ledger_export", "audit_log", "publish_folder"],
)
def test_no_write_that_fails_is_taken_for_done(command: str) -> None:
    most = 3 if command == "publish_folder" else 40
    done = start([str(most), ",".join(KINDS), command])
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(KINDS), done.stderr[-2000:]
    for tried in found:
        assert tried["failures"] == [], tried["kind"]
        assert tried["tried"] == min(most, tried["writes"])
