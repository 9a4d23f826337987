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


def test_a_sign_is_due_at_once_and_then_every_so_often() -> None:
    now = iter([0.0, 0.2, 9.9, 10.0, 10.2, 31.0, 39.0, 41.0])
    beat = pulse.Every(pulse.BEAT, lambda: next(now))
    said = [beat.due() for _ in range(8)]
    assert said == [True, False, False, True, False, True, False, True]
