"""The file of a ledger: append-only JSON lines in a digest chain, one writer at a time."""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from aurora_release import atomic
from aurora_release.errors import AuroraError
from aurora_release.evidence import canonical, sha256
from aurora_release.safety.ledger.record import Pair, Record, Review

START = "0" * 64
"""`previous` of the first record."""


def append(path: Path, pairs: Iterable[Pair]) -> list[Record]:
    """Add pairs to a ledger and return their records; the ledger is begun where there is none.

    A pair whose id and language are in the ledger takes the place of the earlier one: that is how
    a review or an edit is recorded without touching what was written.

    Raises:
        AuroraError: the ledger on disk does not verify.
    """
    with _alone(path):
        content = path.read_bytes() if path.exists() else b""
        return _append(path, content, _verified(path, content), pairs)


def read(path: Path) -> list[Record]:
    """Return the records that stand in a ledger, after its whole chain was verified.

    Raises:
        AuroraError: no such file, or a line that was edited by hand, has no licence, names an
            unknown category, or is not in its place; the message names file and line.
    """
    return _standing(_verified(path, _content(path)))


def review(path: Path, of: Record, review: Review) -> Record:
    """Append a review of a pair, on disk before this returns, and return the pair's new record.

    Other people's reviews of the same pair that came in between stay; the last edit stands.

    Raises:
        AuroraError: the ledger does not verify, or the pair's text was replaced meanwhile.
    """
    with _alone(path):
        content = _content(path)
        lines = _verified(path, content)
        now = _place(_standing(lines), of, path).pair
        texts = review.edit.after if review.edit else now.texts
        try:
            pair = Pair.model_validate(
                {
                    **{key: getattr(now, key) for key in Pair.model_fields},
                    "prompt": texts.prompt,
                    "response": texts.response,
                    "reviews": (*now.reviews, review),
                }
            )
        except ValidationError as error:
            raise AuroraError(
                f"{of.language}/{of.id} could not be reviewed: {_sentence(error)} Read it again."
            ) from None
        return _append(path, content, lines, [pair])[0]


def withdraw(path: Path, own: Record) -> Record:
    """Take the review back that made a record: what stood before is appended and stands again.

    The record itself stays in the ledger, as everything does.

    Raises:
        AuroraError: the ledger does not verify, or somebody has reviewed the pair since.
    """
    with _alone(path):
        content = _content(path)
        lines = _verified(path, content)
        if _place(_standing(lines), own, path).pair != own.pair:
            raise AuroraError(
                f"{own.language}/{own.id} was reviewed again since: it cannot be undone any more, "
                "but you may decide about it anew."
            )
        states = [line.pair for line in lines if (line.language, line.id) == (own.language, own.id)]
        at = states.index(own.pair)
        if at == 0:
            raise AuroraError(f"{own.language}/{own.id} has no review to take back.")
        return _append(path, content, lines, [states[at - 1]])[0]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process at a time write the ledgers of a folder."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise AuroraError(f"{path.parent} cannot be opened ({error.strerror}).") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _content(path: Path) -> bytes:
    if not path.exists():
        raise AuroraError(f"{path} is missing: there is no such ledger.")
    if not path.is_file():
        raise AuroraError(f"{path} cannot be read: it is no file.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuroraError(f"{path} cannot be read ({error.strerror}).") from None


def _append(path: Path, content: bytes, lines: list[Record], pairs: Iterable[Pair]) -> list[Record]:
    previous = sha256(_line(lines[-1])) if lines else START
    added = []
    for pair in pairs:
        record = _chained(pair, previous)
        previous = sha256(_line(record))
        added.append(record)
    atomic.write_bytes(path, content + b"".join(_line(record) + b"\n" for record in added))
    return added


def _standing(lines: list[Record]) -> list[Record]:
    return list({(line.language, line.id): line for line in lines}.values())


def _place(records: list[Record], wanted: Record, path: Path) -> Record:
    for record in records:
        if (record.language, record.id) == (wanted.language, wanted.id):
            return record
    raise AuroraError(f"{path} holds no pair {wanted.language}/{wanted.id} any more.")


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
