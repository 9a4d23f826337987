"""What the passes of cleaning hand to each other: files of a work folder, one set a shard."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from aurora_release.data.documents import Document
from aurora_release.data.sources import Shard
from aurora_release.evidence import canonical
from aurora_release.recipe import Data, Source

HELD, KEPT = 0, 1 << 63
"""A place is a number: held-out documents first, then by shard, then by order in the shard."""


@dataclass(frozen=True)
class Work:
    """The plan of a cleaning, and where its passes keep what they found."""

    data: Data
    beside: Path
    folder: Path
    shards: tuple[Shard, ...]

    def source(self, rank: int) -> Source:
        """Return the source of a shard."""
        return self.data.sources[self.shards[rank].source]

    def path(self, kind: str, rank: int) -> Path:
        """Return the file of one kind that belongs to a shard."""
        return self.folder / kind / f"{rank:05d}"

    def kind(self, place: int) -> tuple[str, int, int]:
        """Return the kind of file, the shard and the line of a place."""
        kind = "kept" if place & KEPT else "held"
        return kind, (place & ~KEPT) >> 32, place & 0xFFFFFFFF

    def identity(self, place: int) -> str:
        """Return source and id of the document in a place."""
        kind, rank, line = self.kind(place)
        offsets = np.load(self.path(f"{kind}-offsets", rank).with_suffix(".npy"), mmap_mode="r")
        with self.path(kind, rank).open("rb") as file:
            file.seek(int(offsets[line]))
            return f"{self.source(rank).name}/{json.loads(file.readline())['id']}"


def place(kept: bool, rank: int, line: int) -> int:
    """Return the place of a document."""
    return (KEPT if kept else HELD) | rank << 32 | line


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name when it is complete and on disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save(path: Path, array: NDArray[Any]) -> None:
    """Write an array beside the other files of its shard."""
    with whole(path.with_suffix(".npy")) as file:
        np.save(file, array)


def load(path: Path) -> NDArray[Any]:
    """Return an array; only the pages that are asked for come into memory."""
    found: NDArray[Any] = np.load(path.with_suffix(".npy"), mmap_mode="r")
    return found


def pack(document: Document, masked: dict[str, int]) -> bytes:
    """Return a document, and what was masked in it, as a line."""
    return canonical({**vars(document), "masked": masked}) + b"\n"


def unpack(path: Path) -> Iterator[tuple[Document, dict[str, int]]]:
    """Yield the documents of a work file, and what was masked in them."""
    with path.open("rb") as file:
        for row in file:
            content = json.loads(row)
            masked = content.pop("masked")
            yield Document(**content), masked


def removal(identity: str, reason: str, detail: str) -> bytes:
    """Return a removed document as a line."""
    return canonical({"id": identity, "reason": reason, "detail": detail}) + b"\n"
