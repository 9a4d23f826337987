"""Reads the recipe's sources as documents: JSON lines, Parquet, folders, the Hub, ledgers."""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from aurora_release import parse
from aurora_release.data.documents import Document
from aurora_release.errors import AuroraError, missing_extra
from aurora_release.recipe import Source
from aurora_release.safety import ledger
from aurora_release.shipped import resolve

HUB = "hub:"
_HUB = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})")
_LINES = (".jsonl", ".jsonl.gz", ".jsonl.zst")
_TABLE = ".parquet"

Row = tuple[str, Mapping[str, Any]]
"""Where a row stands (`file:number`), and what it holds."""


@dataclass(frozen=True)
class Shard:
    """The part of a source that one task reads."""

    source: int
    """Its place in `data.sources`."""
    number: int
    """Its place in the source."""
    files: tuple[Path, ...] = ()
    start: int = 0
    end: int | None = None
    """Bytes of a plain JSON lines file; lines that start in this range belong to the shard."""
    parts: int = 1
    """Of how many a Hub dataset has."""


def shards(sources: tuple[Source, ...], beside: Path) -> list[Shard]:
    """Return how the sources are cut for tasks: by the sizes of their files and nothing else.

    Raises:
        AuroraError: a source is missing, empty, or a Hub dataset without a pinned revision.
    """
    files = [_files(source, beside) for source in sources]
    size = max(SHARD_BYTES, sum(_bytes(file) for found in files for file in found) // 1000)
    return [
        shard
        for place, source in enumerate(sources)
        for shard in _cut(place, source, files[place], size)
    ]


SHARD_BYTES = 2**25
"""32 MiB: a task of about a minute; a corpus of more than 32 GB is cut in a thousand."""


def read(source: Source, shard: Shard, beside: Path) -> Iterator[Document]:
    """Yield the documents of a shard in the order of the source.

    Raises:
        AuroraError: a row is not a document; the message names file and row.
    """
    if source.kind == "pairs":
        return _pairs(shard.files[0], source.min_reviews)
    rows = _hub_rows(source, shard) if source.path.startswith(HUB) else _rows(source, shard, beside)
    above = f"{resolve(source.path, beside).parent}/"
    return (_text(source, where, row, above) for where, row in rows)


def _files(source: Source, beside: Path) -> tuple[Path, ...]:
    """Return the files of a source, sorted by name; none for a Hub dataset."""
    if source.path.startswith(HUB):
        hub_name(source.path, f" (data.sources.{source.name}.path)")
        return ()
    path = resolve(source.path, beside)
    if path.is_file():
        return (path,)
    where = f"data.sources.{source.name}.path"
    if not path.is_dir():
        raise AuroraError(
            f"{path} is missing: {where} names it. Correct the path, or build the file."
        )
    found = sorted(
        (file for file in path.rglob("*") if file.is_file() and not _hidden(file, path)),
        key=lambda file: file.relative_to(path).as_posix(),
    )
    found = [file for file in found if _is_data(file)] or found
    if not found:
        raise AuroraError(f"{path} ({where}) is an empty folder. Correct the path, or fill it.")
    return tuple(found)


def _hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _is_data(file: Path) -> bool:
    return file.name.endswith((*_LINES, _TABLE))


def _bytes(file: Path) -> int:
    return file.stat().st_size


def _cut(place: int, source: Source, files: tuple[Path, ...], size: int) -> Iterator[Shard]:
    if not files:
        parts = _hub_parts(source)
        for number in range(parts):
            yield Shard(place, number, parts=parts)
    elif len(files) == 1 and files[0].name.endswith(".jsonl") and source.kind == "text":
        count = max(1, -(-_bytes(files[0]) // size))
        edges = [_bytes(files[0]) * number // count for number in range(count + 1)]
        for number in range(count):
            yield Shard(place, number, files, edges[number], edges[number + 1])
    else:
        for number, group in enumerate(_groups(files, size)):
            yield Shard(place, number, group)


def _groups(files: tuple[Path, ...], size: int) -> Iterator[tuple[Path, ...]]:
    """Yield runs of files that together are about `size` bytes."""
    group: list[Path] = []
    total = 0
    for file in files:
        group.append(file)
        total += _bytes(file)
        if total >= size:
            yield tuple(group)
            group, total = [], 0
    if group:
        yield tuple(group)


def _rows(source: Source, shard: Shard, beside: Path) -> Iterator[Row]:
    root = resolve(source.path, beside)
    for file in shard.files:
        if file.name.endswith(".jsonl"):
            yield from _range(file, shard.start, shard.end)
        elif file.name.endswith(_LINES):
            yield from _compressed(file)
        elif file.name.endswith(_TABLE):
            yield from _table(source, file)
        elif file == root:
            raise AuroraError(
                f"{file} (data.sources.{source.name}.path) is no kind of file that is read here; "
                f"there are {', '.join((*_LINES, _TABLE))} and folders of these or of text files."
            )
        else:
            yield str(file), _whole(source, file, file.relative_to(root).as_posix())


def _range(file: Path, start: int, end: int | None) -> Iterator[Row]:
    """Yield the rows that start in a range of bytes; rows are numbered from the file's first."""
    with file.open("rb") as lines:
        number = _rows_before(lines, start)
        while end is None or lines.tell() < end:
            line = lines.readline()
            if not line:
                return
            number += 1
            yield _row(f"{file}:{number}", line)


def _rows_before(lines: BinaryIO, start: int) -> int:
    """Go to the first row that starts at `start` or later; return how many rows came before."""
    if not start:
        return 0
    number, left = 0, start - 1
    while left:
        block = lines.read(min(left, 2**20))
        number += block.count(b"\n")
        left -= len(block)
    lines.readline()
    return number + 1


def _compressed(file: Path) -> Iterator[Row]:
    try:
        import pyarrow
    except ImportError:
        raise missing_extra("pyarrow", "data") from None
    kind = "gzip" if file.name.endswith(".gz") else "zstd"
    try:
        with io.BufferedReader(pyarrow.input_stream(file, compression=kind)) as lines:
            for number, line in enumerate(lines, 1):
                yield _row(f"{file}:{number}", line)
    except OSError as error:
        raise AuroraError(f"{file} is damaged or cut off ({error}); fetch it again.") from None


def _row(where: str, line: bytes) -> Row:
    try:
        content = parse.json_text(line)
    except ValueError as error:
        raise AuroraError(f"{where} is not a document: no JSON ({error}).") from None
    if not isinstance(content, dict):
        raise AuroraError(f'{where} is not a document; expected {{"id": …, "text": …}}.')
    return where, content


def _table(source: Source, file: Path) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise missing_extra("pyarrow", "data") from None
    wanted = {source.text_key, source.id_key, source.license_key}
    number = 0
    try:
        with parquet.ParquetFile(file) as table:
            columns = [name for name in table.schema_arrow.names if name in wanted]
            for batch in table.iter_batches(256, columns=columns):
                for content in batch.to_pylist():
                    number += 1
                    yield f"{file}:{number}", content
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise AuroraError(f"{file} is not a whole Parquet file ({error}).") from None


def _whole(source: Source, file: Path, name: str) -> dict[str, str]:
    """Return a text file as a row: its id is its path in the folder."""
    try:
        return {source.id_key: name, source.text_key: file.read_text(encoding="utf-8")}
    except UnicodeDecodeError as error:
        raise AuroraError(
            f"{file} (data.sources.{source.name}) is no UTF-8 text (byte {error.start}); "
            "convert it or take it out of the folder."
        ) from None


def _text(source: Source, where: str, row: Mapping[str, Any], above: str) -> Document:
    text = row.get(source.text_key)
    if not isinstance(text, str):
        found = f"it is {type(text).__name__}" if source.text_key in row else "there is none"
        raise AuroraError(
            f"{where} is not a document: {source.text_key!r} must be a string, {found}; "
            f"data.sources.{source.name}.text_key names the column."
        )
    identity = row.get(source.id_key)
    identity = where.removeprefix(above) if identity is None else str(identity)
    licence = row.get(source.license_key) if source.license_key else None
    own = str(licence) if licence and licence != source.license else ""
    for value in (identity, text, own):
        if not _is_unicode(value):
            raise AuroraError(
                f'{where} is not a document: it holds half a surrogate pair (as in "\\ud800"), '
                "which no UTF-8 has; take the row out or write it again."
            )
    return Document(identity, identity, text, license=own)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pairs(path: Path, min_reviews: int) -> Iterator[Document]:
    for record in ledger.allowed(ledger.read(path), min_reviews).pairs:
        yield Document(
            f"{record.language}/{record.id}",
            record.topic,
            record.response,
            record.prompt,
            record.model_dump_json(),
        )


def hub_name(path: str, where: str = "") -> tuple[str, str]:
    """Return name and revision of a Hub dataset; a name that may move is refused.

    Raises:
        AuroraError: `path` has no revision; `where` says where it stands.
    """
    found = _HUB.fullmatch(path)
    if not found:
        raise AuroraError(
            f"{path}{where} does not pin a Hub dataset: write "
            "hub:ORG/NAME@REVISION with the 40 hex digits of a commit, so that it cannot move."
        )
    return found["name"], found["revision"]


def _hub(source: Source) -> Any:
    try:
        import datasets
    except ImportError:
        raise missing_extra("datasets", "data") from None
    name, revision = hub_name(source.path, f" (data.sources.{source.name}.path)")
    try:
        return datasets.load_dataset(
            name, source.subset, revision=revision, split=source.split, streaming=True
        )
    except (OSError, ValueError) as error:
        raise AuroraError(
            f"{source.path} (data.sources.{source.name}) could not be opened: "
            f"{str(error).splitlines()[0]} Check name, subset, split and the network."
        ) from None


def _hub_parts(source: Source) -> int:
    return int(_hub(source).num_shards)


def _hub_rows(source: Source, shard: Shard) -> Iterator[Row]:
    part = _hub(source).shard(shard.parts, shard.number)
    for number, row in enumerate(part, 1):
        yield f"{source.path} part {shard.number}:{number}", row
