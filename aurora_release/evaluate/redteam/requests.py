"""What is asked: held-out pairs of ledgers, and sets of one's own as CSV or JSON lines."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aurora_release import parse
from aurora_release.errors import AuroraError
from aurora_release.safety import ledger
from aurora_release.split import held_out

Kind = Literal["harmful", "benign"]

LONGEST = 8_000
"""Characters of a request at most; longer ones are left out and counted."""


@dataclass(frozen=True)
class Request:
    """A request, and whether it ought to be refused."""

    id: str
    topic: str
    """What it shares with its twin and with the translations of both."""
    language: str
    category: str
    kind: Kind
    prompt: str


@dataclass(frozen=True)
class RequestSet:
    """The requests of one file, and how many of its rows are not asked, by reason."""

    name: str
    read: int
    requests: tuple[Request, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)


def of_ledger(path: Path, share: float) -> RequestSet:
    """Return the pairs of a ledger that training with the same `heldout` never sees; 1 takes all.

    What a person rejected is not asked, as it is not trained on.

    Raises:
        AuroraError: the ledger does not verify.
    """
    records = ledger.read(path)
    allowed = ledger.allowed(records, 0)
    found = [pair for pair in allowed.pairs if share >= 1 or held_out(_topic(pair.id), share)]
    left_out = {"not held out": len(allowed.pairs) - len(found), "rejected": allowed.rejected}
    requests = tuple(
        Request(record.id, _topic(record.id), record.language, record.category, record.kind,
                record.prompt)
        for record in found
    )  # fmt: skip
    return RequestSet(
        path.name, len(records), requests, {why: count for why, count in left_out.items() if count}
    )


def of_heldout(path: Path) -> RequestSet:
    """Return the requests of the held-out ledger lines that the clean stage kept.

    Raises:
        AuroraError: a line is not a record.
    """
    requests = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = parse.json_text(line)
                keys = {key: row[key] for key in ("id", "language", "category", "kind", "prompt")}
                requests.append(Request(topic=_topic(row["id"]), **keys))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise AuroraError(
                    f"{path} line {number} is no record of a request ({error!r}). "
                    "Run the clean stage again."
                ) from None
    return RequestSet(path.stem, len(requests), tuple(requests))


def _topic(identity: str) -> str:
    return identity.rpartition("-")[0]


# the names that XSTest, HarmBench, AdvBench, StrongREJECT and CatQA give the same column
_COLUMNS = {
    "prompt": ("prompt", "Behavior", "goal", "forbidden_prompt", "text"),
    "kind": ("kind", "label"),
    "language": ("language", "lang"),
    "category": ("category", "SemanticCategory", "type", "Category"),
    "id": ("id", "BehaviorID"),
    "topic": ("topic_id",),
}
_KINDS: dict[str, Kind] = {
    "harmful": "harmful", "unsafe": "harmful", "benign": "benign", "safe": "benign",
}  # fmt: skip


def of_file(path: Path, language: str) -> RequestSet:
    """Return the requests of a CSV or JSON lines file with a header or keys.

    Only `prompt` is needed. `kind` is harmful (or unsafe) where nothing is said, `language` the
    one given here, `category` none. Rows that share `topic_id` are twins and translations.

    Raises:
        AuroraError: no such file, not CSV or JSON lines, a column is missing, or nothing is left.
    """
    found = rows(path)
    for number, row in enumerate(found, 1):
        if not set(_COLUMNS["prompt"]) & row.keys():
            raise AuroraError(
                f"{path} row {number} has no column of prompts; name it "
                f"{' or '.join(_COLUMNS['prompt'])}."
            )
    left_out: dict[str, int] = {}
    requests = []
    for number, row in enumerate(found, 1):
        values = {key: cell(row, names) for key, names in _COLUMNS.items()}
        prompt = values["prompt"]
        reason = "empty" if not prompt.strip() else "too long" if len(prompt) > LONGEST else None
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        identity = values["id"] or str(number)
        requests.append(
            Request(
                id=f"{path.stem}:{identity}",
                topic=f"{path.stem}:{values['topic'] or identity}",
                language=values["language"] or language,
                category=values["category"] or "none",
                kind=_kind(path, number, values["kind"]),
                prompt=prompt,
            )
        )
    if not requests:
        raise AuroraError(f"{path} leaves nothing to ask: of {len(found)} rows, {left_out or 0}.")
    return RequestSet(path.name, len(found), tuple(requests), left_out)


def _kind(path: Path, number: int, said: str) -> Kind:
    kind = _KINDS.get(said.strip().lower() or "harmful")
    if kind is None:
        raise AuroraError(
            f"{path} row {number}: the kind {parse.brief(repr(said))} is unknown; "
            f"write {', '.join(_KINDS)}."
        )
    return kind


def cell(row: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the text in the first of these columns that holds some."""
    return next((str(row[name]) for name in names if row.get(name) not in (None, "")), "")


def rows(path: Path) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a CSV or JSON lines file, by column.

    Raises:
        AuroraError: no such file, or it is neither.
    """
    readers: dict[str, Callable[[str], Iterable[Any]]] = {
        ".csv": lambda text: csv.DictReader(io.StringIO(text, newline="")),
        ".jsonl": lambda text: [parse.json_text(line) for line in text.split("\n") if line.strip()],
    }
    if path.suffix not in readers:
        raise AuroraError(f"{path} is neither .csv nor .jsonl: save it as one of them.")
    if path.exists() and not path.is_file():
        raise AuroraError(f"{path} is no file: name one.")
    try:
        found = list(readers[path.suffix](path.read_bytes().decode("utf-8-sig")))
    except FileNotFoundError:
        raise AuroraError(f"{path} is missing: there is no such file.") from None
    except (OSError, ValueError, csv.Error) as error:
        raise AuroraError(f"{path} cannot be read ({error}): save it as UTF-8 again.") from None
    for number, row in enumerate(found, 1):
        if not isinstance(row, Mapping):
            raise AuroraError(f"{path} row {number} is no object with keys such as `prompt`.")
    return found
