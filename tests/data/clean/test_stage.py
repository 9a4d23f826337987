"""Cleaning drops what it says, counts every document once, and gives the same bytes anywhere."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aurora_release import evidence, recipe
from aurora_release.data import sources
from aurora_release.data.clean.stage import clean
from aurora_release.data.documents import documents
from aurora_release.errors import AuroraError
from aurora_release.run import Job
from aurora_release.split import held_out

WORDS = ["kettu", "metsä", "järvi", "vene", "talo", "koira", "lumi", "talvi", "kesä", "polku"]
WORDS += ["silta", "kirja", "pöytä", "ikkuna", "valo", "tähti", "meri", "ranta", "kivi", "puu"]


def _page(number: int, length: int = 40) -> str:
    """Return a page of its own: a walk through the words that no other number takes."""
    state, words = number * 7919 + 1, []
    for _ in range(length):
        state = (state * 1103515245 + 12345) % 2**31
        words.append(WORDS[state // 65536 % len(WORDS)])
    return " ".join(words)


def _job(folder: Path, pages: dict[str, list[tuple[str, str]]], **data: Any) -> Job:
    found = []
    for name, rows in pages.items():
        lines = (json.dumps({"id": identity, "text": text}) for identity, text in rows)
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        found.append(
            {"name": name, "path": f"{name}.jsonl", "language": "fi", "license": "CC0-1.0"}
        )
    demo, _ = recipe.load("demo")
    content = demo.data.model_dump(mode="json") | {"sources": found} | data
    whole = demo.model_copy(update={"data": recipe.Data.model_validate_json(json.dumps(content))})
    (folder / "clean").mkdir(exist_ok=True)
    return Job(whole, folder, folder / "clean", {})


def _removed(job: Job, source: str) -> dict[str, tuple[str, str]]:
    lines = (job.folder / f"removed/{source}.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["id"]: (row["reason"], row["detail"]) for row in rows}


def test_every_removed_document_is_named_with_its_reason(tmp_path: Path) -> None:
    kept = [n for n in range(200) if not held_out(f"a{n}", 0.1)]
    held = [n for n in range(200) if held_out(f"a{n}", 0.1)]
    first = [(f"a{n}", _page(n)) for n in range(200)]
    near = _page(kept[1], 400)
    first[kept[1]] = (f"a{kept[1]}", near)
    second = [
        *((f"b{n}", _page(n)) for n in range(1000, 1100)),
        ("short", "lyhyt"),
        ("same", _page(kept[0])),
        ("near", near.replace(near.split()[200], "ruska", 1)),
        ("copies", f"{_page(2000, 30)} {_page(held[0])}"),
        ("quotes", f"{_page(2001, 400)} {_page(held[0])}"),
        ("asked", f"{_page(2002, 400)} mikä on {_page(3000, 14)} vai eikö ole"),
    ]
    exam = json.dumps({"question": f"mikä on {_page(3000, 14)}?", "n": 1})
    (tmp_path / "exam.jsonl").write_text(exam + "\n", encoding="utf-8")
    rules = {"near_duplicates": 0.8, "decontaminate_against": ["exam.jsonl"]}
    job = _job(tmp_path, {"first": first, "second": second}, clean=rules)
    report = clean(job)["sources"]

    found = _removed(job, "second")
    assert found["short"][0] == "short"
    assert found["same"] == ("repeated", f"first/a{kept[0]}")
    assert found["near"] == ("near duplicate", f"first/a{kept[1]}")
    assert found["copies"][0] == "contaminated: first"
    assert found["asked"][0] == "contaminated: exam.jsonl"
    assert set(found) == {"short", "same", "near", "copies", "asked"}
    assert _removed(job, "first") == {}
    for name, counts in report.items():
        assert counts["read"] == counts["kept"] + counts["heldout"] + sum(
            counts["removed"].values()
        )
        assert counts["kept"] == len(list(documents(job.folder, name)))
        assert counts["removed"] == Counter(reason for reason, _ in _removed(job, name).values())
    assert not (job.folder / "work").exists()
    assert clean(job)["sources"] == report


def test_a_page_of_the_held_out_ones_is_kept_out_wherever_it_stands(tmp_path: Path) -> None:
    held = next(n for n in range(200) if held_out(f"a{n}", 0.1))
    before = [("copy", _page(held)), *((f"b{n}", _page(n)) for n in range(1000, 1050))]
    job = _job(tmp_path, {"b": before, "a": [(f"a{n}", _page(n)) for n in range(200)]})
    clean(job)
    assert _removed(job, "b") == {"copy": ("repeated", f"a/a{held}")}
    assert f'"id":"a{held}"' in (job.folder / "heldout/a.jsonl").read_text("utf-8")


def test_a_sentence_in_common_does_not_wipe_out_a_manual(tmp_path: Path) -> None:
    footer = f" {_page(9999, 20)}"
    pages = [(f"p{n}", _page(n, 200) + footer) for n in range(100)]
    assert clean(_job(tmp_path, {"a": pages}))["sources"]["a"]["removed"] == {}


def test_masks_are_counted_where_they_stay(tmp_path: Path) -> None:
    mail = " Kirjoita osoitteeseen matti@firma.fi"
    pages = [(f"p{n}", _page(n) + mail * (n % 2)) for n in range(60)]
    pages += [("again", pages[1][1])]
    job = _job(tmp_path, {"a": pages})
    counts = clean(job)["sources"]["a"]
    assert counts["masked"] == {"email": 30}
    texts = [document.text for document in documents(job.folder, "a")]
    assert any("<EMAIL>" in text for text in texts)
    assert not any("matti@" in text for text in texts)


def test_a_source_with_nothing_left_says_where_it_went(tmp_path: Path) -> None:
    job = _job(
        tmp_path, {"a": [("x", "lyhyt"), ("y", _page(1))] + [("z", _page(1))] * 3}, heldout=0
    )
    clean(job)
    job = _job(tmp_path, {"b": [("x", "lyhyt")] * 5}, heldout=0)
    (job.folder / "report.json").unlink()
    with pytest.raises(AuroraError, match=r"b has no training documents .*5 read, 5 short"):
        clean(job)


CHILD = """
import sys
from pathlib import Path
sys.path.insert(1, sys.argv[1])
from test_stage import big
from aurora_release import log
from aurora_release.data.clean.stage import clean
log.configure()
clean(big(Path(sys.argv[2]), int(sys.argv[3])))
"""


def big(folder: Path, workers: int, **more: Any) -> Job:
    """Return the cleaning of two sources in eight shards or so, with repetitions across them."""
    pages = [(f"p{n}", _page(n % 300, 60)) for n in range(400)]
    other = [(f"q{n}", _page(n + 200, 60)) for n in range(400)]
    rules = {"near_duplicates": 0.8, "quality": False}
    sources.SHARD_BYTES = 50_000
    how = {"workers": workers, **more}
    return _job(folder, {"a": pages, "b": other}, clean=rules, executor=how)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of that cleaning, left alone in one process."""
    before = sources.SHARD_BYTES
    job = big(tmp_path_factory.mktemp("whole"), 1)
    clean(job)
    sources.SHARD_BYTES = before
    found = evidence.digests(job.folder)
    assert len([name for name in found if name.startswith("text/")]) > 6
    return found


def _start(folder: Path, workers: int) -> subprocess.Popen[bytes]:
    here = Path(__file__).parent
    command = [sys.executable, "-c", CHILD, here, folder, str(workers)]
    root = here.parents[2]
    return subprocess.Popen(command, stderr=subprocess.PIPE, cwd=root, start_new_session=True)


def test_killed_and_started_again_with_other_workers_the_bytes_are_the_same(
    tmp_path: Path, whole: dict[str, str]
) -> None:
    run = _start(tmp_path, 1)
    done = tmp_path / "clean/work/tasks/sift/completions"
    while run.poll() is None and len(list(done.glob("*")) if done.is_dir() else ()) < 2:
        time.sleep(0.002)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert run.returncode == -signal.SIGKILL
    assert not (tmp_path / "clean/report.json").exists()
    left = {path.name: path.stat().st_mtime_ns for path in done.glob("*")}
    assert len(left) >= 2
    again = _start(tmp_path, 2)
    _, said = again.communicate()
    assert again.returncode == 0, said.decode()
    assert evidence.digests(tmp_path / "clean") == whole
    assert b"shards" in said
