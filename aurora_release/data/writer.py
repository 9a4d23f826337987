"""Writes a token store in one pass: memory stays flat, and a killed run goes on where it saved."""

import json
import os
from array import array
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aurora_release import atomic
from aurora_release.data import store
from aurora_release.data.store import Part
from aurora_release.data.tokens import Tokens
from aurora_release.evidence import canonical, sha256_file
from aurora_release.recipe import Source

_PROGRESS = "progress.json"
_SHARD_BYTES = 2**30
_SAVE_TOKENS = 2**26
_BUFFER = 2**16


class Column:
    """A flat `.npy` array on disk that grows at its end."""

    def __init__(self, path: Path, dtype: str, length: int = 0) -> None:
        self._dtype = np.dtype(dtype)
        path.touch()
        self._file = path.open("r+b")
        self._head(length)
        self._file.truncate(self._file.tell() + length * self._dtype.itemsize)
        self._file.seek(0, 2)
        self._rest = array("q")
        self._written = length

    def __len__(self) -> int:
        return self._written + len(self._rest)

    def append(self, value: int) -> None:
        """Add one entry."""
        self._rest.append(value)
        if len(self._rest) >= _BUFFER:
            self.flush()

    def sync(self) -> None:
        """Make every entry survive a power cut."""
        self.flush()
        _sync(self._file)

    def flush(self) -> None:
        """Hand every entry to the file."""
        self._file.write(np.array(self._rest, self._dtype).tobytes())
        self._written += len(self._rest)
        self._rest = array("q")

    def close(self) -> None:
        """Write what is left and the final length; closing twice does nothing."""
        if self._file.closed:
            return
        self.flush()
        self._file.seek(0)
        self._head(self._written)
        self._file.close()

    def _head(self, length: int) -> None:
        # numpy leaves room in the header for a first axis that grows
        head = {"descr": self._dtype.str, "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(self._file, head)  # type: ignore[no-untyped-call]


class Writer:
    """Writes a store source by source; a context manager that closes its files."""

    def __init__(
        self, folder: Path, sequence_length: int, vocabulary: int, shard_bytes: int = _SHARD_BYTES
    ) -> None:
        self._folder = folder
        self._length = sequence_length
        self._type = np.dtype("<u2" if vocabulary <= 2**16 else "<u4")
        self._shard_tokens = shard_bytes // self._type.itemsize
        self._state: dict[str, Any] = self._left()
        self._parts = [Part(**part) for part in self._state["parts"]]
        self._licenses: list[str] = self._state["licenses"]
        self._position: int = self._state["tokens"]
        self._window: int = self._state["window"]
        lengths = self._state["lengths"]
        self._starts = Column(folder / store.STARTS, "<i8", lengths[0])
        self._prompts = Column(folder / store.PROMPTS, "<i4", lengths[1])
        self._license = Column(folder / store.LICENSES, "<u2", lengths[2])
        self._id_starts = Column(folder / store.ID_STARTS, "<i8", lengths[3])
        self._windows = Column(folder / store.WINDOWS, "<i8", lengths[4])
        self._marks = Column(folder / store.MARKS, "<i8", lengths[5])
        self._ids = _open(folder / store.IDS, self._state["ids"])
        self._tokens = self._shard()
        for path in self._shards()[1 + self._position // self._shard_tokens :]:
            path.unlink()
        self._saved = self._position

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self._tokens.close()
        self._ids.close()
        for column in self._columns():
            column.close()

    def done(self, source: Source) -> int:
        """Return how many documents of a source an interrupted run has left."""
        return next((part.documents for part in self._parts if part.name == source.name), 0)

    def add(self, source: Source, documents: Iterable[Tokens]) -> Part:
        """Append the documents of a source that are not `done` and return all that it has."""
        part = self._part(source)
        for document in documents:
            self._append(document, part)
            if self._position - self._saved >= _SAVE_TOKENS:
                self._save()
        if source.kind == "text":
            part.windows = -(-part.tokens // self._length)
        self._save()
        return part

    def finish(self, facts: dict[str, Any]) -> None:
        """Write the end of the index and the manifest; `facts` go into it as they are."""
        self._starts.append(self._position)
        self._id_starts.append(self._ids.tell())
        self.__exit__()
        if self._position and not self._position % self._shard_tokens:
            self._shards()[-1].unlink()
        manifest = {
            **facts,
            "sequence_length": self._length,
            "dtype": self._type.str,
            "tokens": self._position,
            "documents": sum(part.documents for part in self._parts),
            "licenses": self._licenses,
            "shard_tokens": self._shard_tokens,
            "shards": {path.name: sha256_file(path) for path in self._shards()},
            "sources": [asdict(part) for part in self._parts],
        }
        atomic.write_bytes(self._folder / store.MANIFEST, canonical(manifest) + b"\n")
        (self._folder / _PROGRESS).unlink(missing_ok=True)

    def _part(self, source: Source) -> Part:
        """Return the part of a source: the one an interrupted run has left, or a new one."""
        for part in self._parts:
            if part.name == source.name:
                return part
        part = Part(
            source.name, source.language, source.license, source.kind,
            len(self._starts), self._position, len(self._windows),
        )  # fmt: skip
        self._parts.append(part)
        return part

    def _append(self, document: Tokens, part: Part) -> None:
        size = len(document.ids)
        if part.kind == "pairs" and (
            not part.windows or self._position + size - self._window > self._length
        ):
            # pairs stay whole, as many to a window as fit; a longer one is cut at its end
            self._windows.append(self._position)
            self._window = self._position
            part.windows += 1
        license = document.license or part.license
        if license not in self._licenses:
            self._licenses.append(license)
        if not len(self._starts) % store.BLOCK:
            self._marks.append(self._position)
        self._starts.append(self._position)
        self._prompts.append(document.prompt)
        self._license.append(self._licenses.index(license))
        self._id_starts.append(self._ids.tell())
        self._ids.write(document.id.encode())
        self._write(np.array(document.ids, self._type))
        part.documents += 1
        part.tokens += size
        part.characters += document.characters
        part.bytes += document.bytes
        part.words += document.words
        part.fim += document.fim
        part.licenses[license] = part.licenses.get(license, 0) + size

    def _write(self, ids: np.ndarray[Any, Any]) -> None:
        while len(ids):
            room = self._shard_tokens - self._position % self._shard_tokens
            self._tokens.write(ids[:room].tobytes())
            self._position += min(room, len(ids))
            ids = ids[room:]
            if not self._position % self._shard_tokens:
                _sync(self._tokens)
                self._tokens.close()
                self._tokens = self._shard()

    def _shard(self) -> Any:
        """Open the shard that the next token goes into."""
        number, tokens = divmod(self._position, self._shard_tokens)
        return _open(self._folder / store.shard(number), tokens * self._type.itemsize)

    def _shards(self) -> list[Path]:
        return sorted(self._folder.glob("tokens-*.bin"))

    def _columns(self) -> tuple[Column, ...]:
        return (
            self._starts, self._prompts, self._license, self._id_starts, self._windows, self._marks,
        )  # fmt: skip

    def _left(self) -> dict[str, Any]:
        """Return the state that an interrupted run saved, or that of an empty store."""
        path = self._folder / _PROGRESS
        if not path.exists():
            return {
                "parts": [], "licenses": [], "tokens": 0, "window": 0, "ids": 0, "lengths": [0] * 6,
            }  # fmt: skip
        found = json.loads(path.read_bytes())
        assert isinstance(found, dict)
        return found

    def _save(self) -> None:
        """Note how far every file is good: whatever comes after is cut off at the next start."""
        for column in self._columns():
            column.sync()
        _sync(self._ids)
        _sync(self._tokens)
        self._saved = self._position
        state = {
            "parts": [asdict(part) for part in self._parts],
            "licenses": self._licenses,
            "tokens": self._position,
            "window": self._window,
            "ids": self._ids.tell(),
            "lengths": [len(column) for column in self._columns()],
        }
        atomic.write_bytes(self._folder / _PROGRESS, canonical(state))


def _open(path: Path, size: int) -> Any:
    """Return a file to append to, cut to its first `size` bytes."""
    path.touch()
    file = path.open("r+b")
    file.truncate(size)
    file.seek(0, 2)
    return file


def _sync(file: Any) -> None:
    """Make what was written so far survive a power cut."""
    file.flush()
    os.fsync(file.fileno())
