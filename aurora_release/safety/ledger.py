"""The ledger of safety pairs: append-only JSON lines in a digest chain, and who reviewed what."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aurora_release import atomic
from aurora_release.errors import AuroraError
from aurora_release.evidence import canonical, sha256
from aurora_release.safety.taxonomy import AREAS, NONE

START = "0" * 64
"""`previous` of the first record."""

Text = Annotated[str, Field(pattern=r"\S")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Part(BaseModel):
    """A part of a record: strict, frozen, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Writer(Part):
    """Who wrote a pair."""

    kind: Literal["model", "person"]
    name: Text | None = None


class Review(Part):
    """What one person decided about a pair, and when (ISO 8601)."""

    reviewer: Text
    time: Text
    verdict: Literal["accept", "edit", "reject"]


class Pair(Part):
    """A request and its answer: harmful with a refusal, or benign with a helpful answer."""

    id: Text
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]
    category: str
    kind: Literal["harmful", "benign"]
    prompt: Text
    response: Text
    source: Text
    license: Text
    writer: Writer
    reviews: tuple[Review, ...] = ()

    @field_validator("category")
    @classmethod
    def _known(cls, category: str) -> str:
        if category not in (*AREAS, NONE):
            raise ValueError(f"{category!r} is no category; there are {', '.join(AREAS)}, {NONE}")
        return category

    @model_validator(mode="after")
    def _harm_has_an_area(self) -> "Pair":
        if self.kind == "harmful" and self.category == NONE:
            raise ValueError(f"a harmful pair needs one of the areas {', '.join(AREAS)}")
        return self


class Record(Pair):
    """A pair in its place in a ledger.

    `previous` is the SHA-256 of the line before (of its bytes, without the line end), `sha256`
    that of this record without its `sha256`. An edited line breaks the second, a line moved,
    removed or put in breaks the first; lines cut off the end show in the digest of the file only.
    """

    previous: Digest
    sha256: Digest


def append(path: Path, pairs: Iterable[Pair]) -> list[Record]:
    """Add pairs to a ledger and return their records; the ledger is begun where there is none.

    A pair whose id and language are in the ledger takes the place of the earlier one: that is how
    a review or an edit is recorded without touching what was written.

    Raises:
        AuroraError: the ledger on disk does not verify.
    """
    content = path.read_bytes() if path.exists() else b""
    lines = _verified(path, content) if content else []
    previous = sha256(_line(lines[-1])) if lines else START
    added = []
    for pair in pairs:
        record = _chained(pair, previous)
        previous = sha256(_line(record))
        added.append(record)
    atomic.write_bytes(path, content + b"".join(_line(record) + b"\n" for record in added))
    return added


def read(path: Path) -> list[Record]:
    """Return the records that stand in a ledger, after its whole chain was verified.

    Raises:
        AuroraError: no such file, or a line that was edited by hand, has no licence, names an
            unknown category, or is not in its place; the message names file and line.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise AuroraError(f"{path} is missing: there is no such ledger.") from None
    return list({(line.language, line.id): line for line in _verified(path, content)}.values())


def stats(records: Sequence[Record]) -> dict[str, Any]:
    """Return how many pairs there are, by language, category, kind, writer and review."""
    reviewed = sum(bool(record.reviews) for record in records)
    return {
        "pairs": len(records),
        "language": dict(sorted(Counter(record.language for record in records).items())),
        "category": dict(sorted(Counter(record.category for record in records).items())),
        "kind": dict(sorted(Counter(record.kind for record in records).items())),
        "writer": dict(sorted(Counter(record.writer.kind for record in records).items())),
        "reviewed": reviewed,
        "unreviewed": len(records) - reviewed,
    }


def _chained(pair: Pair, previous: str) -> Record:
    content = {**pair.model_dump(include=set(Pair.model_fields)), "previous": previous}
    return Record.model_validate({**content, "sha256": sha256(canonical(content))})


def _line(record: Record) -> bytes:
    return record.model_dump_json().encode()


def _verified(path: Path, content: bytes) -> list[Record]:
    """Return every line of a ledger in order, or say which one is wrong."""
    if content and not content.endswith(b"\n"):
        raise AuroraError(f"{path} ends within a line: restore it from its history.")
    records: list[Record] = []
    previous = START
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        where = f"{path}, line {number}"
        record = _parsed(line, where)
        if record.previous != previous:
            raise AuroraError(
                f"{where} does not follow the line before it: a line was changed, moved, removed "
                "or put in by hand. Restore the ledger, and add lines with ledger.append only."
            )
        previous = sha256(line)
        records.append(record)
    return records


def _parsed(line: bytes, where: str) -> Record:
    try:
        record = Record.model_validate_json(line)
    except ValidationError as error:
        raise AuroraError(f"{where} is not a ledger record: {_sentence(error)}") from None
    content = record.model_dump(exclude={"sha256"})
    if record.sha256 != sha256(canonical(content)) or line != _line(record):
        raise AuroraError(
            f"{where} ({record.id}) was edited by hand: its digest does not match its content. "
            "Restore the line, and append the corrected pair instead."
        )
    return record


def _sentence(error: ValidationError) -> str:
    """Return the first mistake of a line: the key, and what is wrong with it."""
    mistake = error.errors()[0]
    key = ".".join(str(part) for part in mistake["loc"])
    if mistake["type"] == "missing":
        return f"it has no {key}."
    text = mistake["msg"].removeprefix("Value error, ")
    return f"{key}: {text}." if key else f"{text}."
