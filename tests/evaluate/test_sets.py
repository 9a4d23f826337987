import json
from pathlib import Path
from typing import Any

import pytest

from aurora_release.errors import AuroraError
from aurora_release.evaluate.sets import find, read

CHOICE = {"context": "2 + 2 = ", "choices": ["4", "5"], "answer": 0, "language": "en"}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_keys_of_a_line_tell_the_kind(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", CHOICE, CHOICE)
    write(tmp_path / "a.jsonl", {"text": "kettu", "language": "fi"})
    write(tmp_path / "c.jsonl", {"prompt": "x = ", "tests": "assert x"})
    write(tmp_path / "d.jsonl", {"prompt": "x = ", "suffix": "\n", "tests": "assert x"})
    write(tmp_path / "e.jsonl", {"prompt": "Q: 2 + 2?", "answers": ["4"]})
    found = find([tmp_path], None)
    assert [(each.name, each.kind, each.language) for each in found] == [
        ("a", "text", "fi"), ("b", "choice", "en"), ("c", "code", "und"),
        ("d", "infill", "und"), ("e", "answer", "und"),
    ]  # fmt: skip
    assert len(found[1].rows) == 2


def test_the_digest_is_of_the_items_that_are_used(tmp_path: Path) -> None:
    one = read(write(tmp_path / "a.jsonl", CHOICE))
    both = read(write(tmp_path / "a.jsonl", CHOICE, {**CHOICE, "answer": 1}))
    first = read(tmp_path / "a.jsonl", limit=1)
    assert first.sha256 == one.sha256 != both.sha256
    assert len(first.rows) == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"txt": "x"}, "line 1 has the keys txt"),
        ({**CHOICE, "answer": 2}, r"`answer` \(2\)"),
        ({**CHOICE, "answer": -1}, r"`answer` \(-1\)"),
        ({**CHOICE, "answer": True}, "`answer` is missing or no int"),
        ({**CHOICE, "choices": ["4", ""]}, "`choices` must be texts"),
        ({**CHOICE, "choices": []}, "`choices` must be texts"),
        ({"prompt": "x", "answers": []}, "`answers` must be texts"),
        ({"prompt": "x", "answers": [4]}, "`answers` must be texts"),
        ({"text": 5}, "`text` is missing or no str"),
        ({"text": ""}, "`text` is empty"),
        ({"text": float("nan")}, "line 1 is not JSON in UTF-8 .*NaN"),
        ({"text": "\ud800"}, "line 1 is not JSON in UTF-8 .*surrogates"),
        (["text"], "it is not an object"),
    ],
)
def test_a_line_that_is_no_item_is_named(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(AuroraError, match=said):
        read(write(tmp_path / "a.jsonl", row))


def test_bytes_that_are_not_utf_8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"text": "hyppää"}\n'.encode() + '{"text": "hyppää"}\n'.encode("latin-1"))
    with pytest.raises(AuroraError, match="line 2 is not JSON in UTF-8"):
        read(path)


def test_an_item_counts_once(tmp_path: Path) -> None:
    rows = [{"id": name, "text": "kettu"} for name in ("a", "b", "a")]
    with pytest.raises(AuroraError, match="lines 1 and 3 have one id, 'a'"):
        read(write(tmp_path / "a.jsonl", *rows))
    assert len(read(write(tmp_path / "a.jsonl", *rows[:2])).rows) == 2


def test_every_line_is_of_one_kind(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="line 2: `text` is missing"):
        read(write(tmp_path / "a.jsonl", {"text": "x"}, CHOICE))


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="holds no evaluation set"):
        find([tmp_path], None)
    with pytest.raises(AuroraError, match="is empty"):
        find([write(tmp_path / "a.jsonl")], None)
    (tmp_path / "a.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(AuroraError, match="line 1 is not JSON"):
        find([tmp_path], None)


def test_two_sets_with_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write(tmp_path / "a.jsonl", CHOICE)
    write(tmp_path / "more" / "a.jsonl", CHOICE)
    with pytest.raises(AuroraError, match="Two evaluation sets are called a"):
        find([tmp_path, tmp_path / "more"], None)
