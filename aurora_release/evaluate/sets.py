"""Evaluation sets: files of JSON lines, their kind told by the keys of a line.

    {"text": …}                                   bits per byte
    {"context": …, "choices": […], "answer": 0}   the likeliest choice; if only one, likeliest words
    {"prompt": …, "answers": […]}                 an answer that is written
    {"prompt": …, "tests": …}                     code that is to pass its tests
    {"prompt": …, "suffix": …, "tests": …}        the same, and the code that follows is known

`language` and `id` may stand beside them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aurora_release import evidence, parse
from aurora_release.errors import AuroraError

Kind = Literal["text", "choice", "answer", "infill", "code"]
Row = dict[str, Any]

_KEYS: dict[Kind, dict[str, type]] = {
    "text": {"text": str},
    "choice": {"context": str, "choices": list, "answer": int},
    "answer": {"prompt": str, "answers": list},
    "infill": {"prompt": str, "suffix": str, "tests": str},
    "code": {"prompt": str, "tests": str},
}
UNKNOWN = "und"
"""The language of a set that names none (ISO 639-3: undetermined)."""


@dataclass(frozen=True)
class EvalSet:
    """The items of one file."""

    name: str
    kind: Kind
    language: str
    sha256: str
    """Of the items that are used, as canonical JSON."""
    rows: tuple[Row, ...]


def find(paths: Iterable[Path], limit: int | None) -> list[EvalSet]:
    """Return the sets in files and in folders of *.jsonl; of each the first `limit` items.

    Raises:
        AuroraError: nothing is found, two sets have one name, or a line is no item.
    """
    files = [file for path in paths for file in _files(path)]
    names = [file.stem for file in files]
    for name in names:
        if names.count(name) > 1:
            raise AuroraError(f"Two evaluation sets are called {name}: rename one of the files.")
    return [read(file, limit) for file in files]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(path.glob("*.jsonl")) if path.is_dir() else []
    if not found:
        raise AuroraError(
            f"{path} holds no evaluation set: name a .jsonl file, or a folder of them "
            "(python -m scripts.build_eval_sets makes one)."
        )
    return found


def read(path: Path, limit: int | None = None) -> EvalSet:
    """Return the set in a file; of its items the first `limit`.

    Raises:
        AuroraError: it is empty, a line is no item of the kind of the first one, or two items
            have one id.
    """
    rows = _rows(path, limit)
    if not rows:
        raise AuroraError(f"{path} is empty: an evaluation set has a line for each item.")
    kind = _kind(path, 1, rows[0])
    for number, row in enumerate(rows, 1):
        _check(path, number, row, kind)
    _check_ids(path, rows)
    language = str(rows[0].get("language", UNKNOWN))
    return EvalSet(path.stem, kind, language, evidence.sha256(evidence.canonical(rows)), (*rows,))


def _rows(path: Path, limit: int | None) -> list[Row]:
    rows: list[Row] = []
    if not path.is_file():
        raise AuroraError(f"{path} is no file: name an evaluation set.")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if limit is not None and len(rows) == limit:
                break
            rows.append(_row(path, number, line))
    return rows


def _row(path: Path, number: int, line: bytes) -> Row:
    try:
        row = parse.json_text(line)
        # what cannot be written again has no digest: half a surrogate, a number that is none
        evidence.canonical(row)
    except ValueError as error:
        raise AuroraError(f"{path} line {number} is not JSON in UTF-8 ({error}).") from None
    if not isinstance(row, dict):
        raise AuroraError(f"{path} line {number} is no item: it is not an object.")
    return row


def _check_ids(path: Path, rows: Sequence[Row]) -> None:
    first: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if "id" in row and (known := first.setdefault(str(row["id"]), number)) != number:
            name = parse.brief(repr(row["id"]))
            raise AuroraError(
                f"{path} lines {known} and {number} have one id, {name}: an item that "
                "counts twice spoils the intervals. Leave one out, or give it an id of its own."
            )


def _kind(path: Path, number: int, row: Row) -> Kind:
    for kind, keys in _KEYS.items():
        if keys.keys() <= row.keys():
            return kind
    found = parse.brief(", ".join(sorted(row))) or "none"
    raise AuroraError(
        f"{path} line {number} has the keys {found}; an item has "
        "`text`, or `context`, `choices` and `answer`, or `prompt` and `answers` or `tests`."
    )


def _check(path: Path, number: int, row: Row, kind: Kind) -> None:
    for key, wanted in _KEYS[kind].items():
        if not isinstance(row.get(key), wanted) or isinstance(row[key], bool):
            raise AuroraError(f"{path} line {number}: `{key}` is missing or no {wanted.__name__}.")
    if kind == "text" and not row["text"]:
        raise AuroraError(f"{path} line {number}: `text` is empty, and nothing has no bits a byte.")
    if kind == "answer" and not _texts(row["answers"]):
        raise AuroraError(f"{path} line {number}: `answers` must be texts that are not empty.")
    if kind == "choice" and not _answerable(row["choices"], row["answer"]):
        raise AuroraError(
            f"{path} line {number}: `choices` must be texts that are not empty, and `answer` "
            f"({parse.brief(str(row['answer']))}) the place of one of them, from 0."
        )


def _answerable(choices: Sequence[Any], answer: int) -> bool:
    return _texts(choices) and 0 <= answer < len(choices)


def _texts(values: Sequence[Any]) -> bool:
    return bool(values) and all(isinstance(value, str) and value for value in values)
