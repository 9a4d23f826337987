"""What the disk refused is told from what is a bug."""

import errno
import os

from aurora_release.errors import cannot_write


def test_a_disk_that_refuses_is_named_whoever_says_so() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x")
    assert cannot_write(full) == "runs/x: No space left on device"
    wrapped = RuntimeError("the writer failed")
    wrapped.__cause__ = full
    assert cannot_write(wrapped) == "runs/x: No space left on device"
    quoted = ValueError("I/O error: Read-only file system (os error 30)")
    assert str(cannot_write(quoted)).endswith(": Read-only file system")


def test_anything_else_is_a_bug() -> None:
    assert cannot_write(FileNotFoundError(errno.ENOENT, "No such file", "x")) is None
    assert cannot_write(ValueError("x")) is None
