"""The audit log says what was decided, and no word of what it was decided about."""

import json
import logging
import resource
import threading

import pytest

from aurora_release.errors import AuroraError
from aurora_release.serve.audit import FILES, AuditLog, Decision

DECISION = Decision(
    request="cmpl-1", part=0, direction="output", channel="tool 1", position=7, characters=9,
    action="block", category="harm", score=0.912345, language="fi", guards=("classifier",),
    failure=None, milliseconds=1.5,
)  # fmt: skip


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_a_line_has_everything_but_the_text(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, "d" * 64)
    for text in ("secret \ud800\x00 words", "other words", "secret \ud800\x00 words"):
        log.write(DECISION, text)
    first, second, third = lines(path)
    assert (first["request"], first["action"], first["score"]) == ("cmpl-1", "block", 0.9123)
    assert (first["channel"], first["position"], first["policy"]) == ("tool 1", 7, "d" * 64)
    assert first["guards"] == ["classifier"]
    assert first["time"].endswith("+00:00")
    assert "secret" not in path.read_text(encoding="ascii")
    assert first["digest"] == third["digest"] != second["digest"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_digests_of_two_runs_cannot_be_compared(tmp_path):
    path = tmp_path / "audit.jsonl"
    for _ in range(2):
        AuditLog(path, "").write(DECISION, "yes")
    first, second = lines(path)
    assert first["digest"] != second["digest"]


def test_a_full_file_makes_room_and_the_oldest_goes(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, "", max_bytes=1000)
    for _ in range(100):
        log.write(DECISION, "x")
    files = sorted(tmp_path.iterdir())
    assert len(files) == FILES
    assert all(file.stat().st_size <= 1000 and lines(file) for file in files)


def test_lines_of_many_threads_stay_whole(tmp_path):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, "")
    threads = [
        threading.Thread(target=lambda: [log.write(DECISION, "x") for _ in range(50)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(path)) == 400


def test_a_file_that_cannot_be_written_is_an_error_at_the_start_and_a_message_later(
    tmp_path, caplog
):
    with pytest.raises(AuroraError, match="--audit-log"):
        AuditLog(tmp_path / "missing" / "audit.jsonl", "")
    with pytest.raises(AuroraError, match="cannot be written"):
        AuditLog(tmp_path, "")
    folder = tmp_path / "logs"
    folder.mkdir()
    log = AuditLog(folder / "audit.jsonl", "")
    (folder / "audit.jsonl").unlink()
    folder.rmdir()
    with caplog.at_level(logging.ERROR):
        log.write(DECISION, "x")
        log.write(DECISION, "x")
    assert caplog.text.count("cannot be written") == 1


def test_a_disk_that_takes_half_a_line_leaves_whole_lines(tmp_path, caplog):
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path, "")
    log.write(DECISION, "x")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
    try:
        with caplog.at_level(logging.ERROR):
            log.write(DECISION, "y")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written" in caplog.text
    log.write(DECISION, "z")
    assert len(lines(path)) == 2
