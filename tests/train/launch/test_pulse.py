"""A machine that gives no sign of life is taken for dead, by the clock of the file system."""

import os
from pathlib import Path

import pytest

from aurora_release.train.launch import pulse


def test_the_latest_sign_counts_and_not_the_clock_of_a_machine(tmp_path: Path) -> None:
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    theirs.touch()
    mine.touch()
    assert not pulse.silent(theirs, mine)
    long_ago = mine.stat().st_mtime - pulse.SILENCE - 1
    os.utime(theirs, (long_ago, long_ago))
    assert pulse.silent(theirs, mine)
    pulse.beat(theirs)
    assert not pulse.silent(theirs, mine)


def test_a_late_sign_does_not_bring_back_the_file_of_an_earlier_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        pulse.beat(tmp_path / "gone")
    assert not list(tmp_path.iterdir())
