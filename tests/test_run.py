"""Stages are done once, atomically, and again only when something that decides them changed."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aurora_release import evidence, recipe
from aurora_release.errors import AuroraError
from aurora_release.run import Job, Stage, run

RECIPE, BESIDE = recipe.load("demo")


def _stage(name: str, after: tuple[str, ...] = (), decides: object = 1, **more: Any) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        text = "".join((job.before[parent] / "out").read_text("utf-8") for parent in after)
        (job.folder / "out").write_text(f"{text}{name}{decides}", encoding="utf-8")
        return {"length": len(text)}

    return Stage(name, after, decides, **({"work": work} | more))


def _run(stages: list[Stage], folder: Path, redo: frozenset[str] = frozenset()) -> list[str]:
    done = run(RECIPE, BESIDE, stages, folder, redo)
    return [name for name, was_done in done.items() if was_done]


def test_nothing_is_done_twice(tmp_path: Path) -> None:
    stages = [_stage("a"), _stage("b", ("a",))]
    assert _run(stages, tmp_path) == ["a", "b"]
    assert _run(stages, tmp_path) == []
    assert (tmp_path / "b" / "out").read_text("utf-8") == "a1b1"


def test_a_change_reaches_everything_behind_it(tmp_path: Path) -> None:
    _run([_stage("a"), _stage("b", ("a",)), _stage("c")], tmp_path)
    assert _run([_stage("a", decides=2), _stage("b", ("a",)), _stage("c")], tmp_path) == ["a", "b"]
    assert (tmp_path / "b" / "out").read_text("utf-8") == "a2b1"


def test_a_damaged_result_is_made_again(tmp_path: Path) -> None:
    _run([_stage("a")], tmp_path)
    (tmp_path / "a" / "out").write_text("tampered", encoding="utf-8")
    assert _run([_stage("a")], tmp_path) == ["a"]


def test_redo_does_a_stage_again(tmp_path: Path) -> None:
    _run([_stage("a"), _stage("b")], tmp_path)
    assert _run([_stage("a"), _stage("b")], tmp_path, frozenset({"b"})) == ["b"]


def test_evidence_links_to_the_stage_before(tmp_path: Path) -> None:
    _run([_stage("a"), _stage("b", ("a",))], tmp_path)
    found = evidence.read(tmp_path / "b" / evidence.FILE)["predicate"]
    assert found["previous"] == {"a": evidence.sha256_file(tmp_path / "a" / evidence.FILE)}
    assert found["measured"] == {"length": 2}
    assert found["environment"]["packages"]["aurora-release"]


def test_a_changed_input_file_counts(tmp_path: Path) -> None:
    text = tmp_path / "corpus"
    text.write_text("one", encoding="utf-8")
    stages = [_stage("a", inputs={"corpus": text})]
    _run(stages, tmp_path / "run")
    text.write_text("two", encoding="utf-8")
    assert _run(stages, tmp_path / "run") == ["a"]


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match=r"nowhere\.jsonl is missing: the recipe names it as fi"):
        _run([_stage("a", inputs={"fi": tmp_path / "nowhere.jsonl"})], tmp_path / "run")


def test_a_failed_stage_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    def fail(job: Job) -> dict[str, Any]:
        (job.folder / "out").write_text("half", encoding="utf-8")
        raise AuroraError("no")

    with pytest.raises(AuroraError, match="no"):
        _run([_stage("a", work=fail)], tmp_path)
    assert not (tmp_path / "a").exists()
    assert _run([_stage("a")], tmp_path) == ["a"]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["a"]


def test_half_written_work_is_kept_only_where_it_can_be_continued(tmp_path: Path) -> None:
    seen = []

    def work(job: Job) -> dict[str, Any]:
        seen.append((job.folder / "half").exists())
        (job.folder / "half").touch()
        if len(seen) == 1:
            raise AuroraError("stopped")
        return {}

    stages = [_stage("a", work=work, resumes=True)]
    with pytest.raises(AuroraError, match="stopped"):
        _run(stages, tmp_path)
    _run(stages, tmp_path)
    assert seen == [False, True]


def test_second_run_into_a_folder_is_refused_and_a_killed_one_frees_it(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from aurora_release import recipe\n"
        "from aurora_release.run import Stage, run\n"
        "def work(job):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
        "r, b = recipe.load('demo')\n"
        "run(r, b, [Stage('a', (), 1, work)], Path(sys.argv[1]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.PIPE, text=True
    ) as first:
        assert first.stderr is not None
        assert "held\n" in first.stderr
        with pytest.raises(AuroraError, match=rf"in use by another run \(process {first.pid}\)"):
            _run([_stage("a")], tmp_path)
        os.kill(first.pid, signal.SIGKILL)
    assert _run([_stage("a")], tmp_path) == ["a"]


def test_full_disk_leaves_the_stage_undone_and_the_finished_ones_whole(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("only root can mount a small file system")

    def fill(job: Job) -> dict[str, Any]:
        try:
            (job.folder / "big").write_bytes(b"0" * 1_000_000)
        except OSError:
            raise RuntimeError("what a library says of a full disk") from None
        return {}

    try:
        _run([_stage("a")], mount)
        with pytest.raises(OSError, match="No space left"):
            _run([_stage("a"), _stage("b", work=fill)], mount)
        assert not (mount / "b").exists()
        assert _run([_stage("a")], mount) == []
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_finished_work_that_could_not_be_put_in_its_place_is_not_done_again(tmp_path: Path) -> None:
    times = []

    def work(job: Job) -> dict[str, Any]:
        times.append(1)
        (job.folder / "out").write_text("a", encoding="utf-8")
        return {}

    stages = [Stage("a", (), 1, work)]
    in_the_way = tmp_path / "a"
    in_the_way.write_text("a file where a folder goes", encoding="utf-8")
    with pytest.raises(NotADirectoryError):
        _run(stages, tmp_path)
    # what will be renamed holds no file of ours that a fault after the rename would leave there
    assert sorted(path.name for path in (tmp_path / "a.partial").iterdir()) == [
        "evidence.json", "out",
    ]  # fmt: skip
    in_the_way.unlink()
    assert _run(stages, tmp_path) == ["a"]
    assert len(times) == 1
    assert sorted(path.name for path in in_the_way.iterdir()) == ["evidence.json", "out"]
    assert _run(stages, tmp_path) == []


def test_a_result_that_this_version_would_not_write_is_made_again(tmp_path: Path) -> None:
    _run([_stage("a"), _stage("b")], tmp_path)
    assert _run([_stage("a"), _stage("b", stands=lambda folder: False)], tmp_path) == ["b"]


def test_a_signature_that_goes_with_what_was_signed_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("aurora_release"), "propagate", True)
    _run([_stage("a")], tmp_path)
    (tmp_path / "a" / evidence.SIGNATURE).write_text("signed", encoding="utf-8")
    _run([_stage("a", decides=2)], tmp_path)
    assert "its signature was of what lay there before: sign it again" in caplog.text
