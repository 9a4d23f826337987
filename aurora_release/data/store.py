"""The token store: memory-mapped token ids with an index of documents and sample windows."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aurora_release import atomic
from aurora_release.data.tokens import Tokens
from aurora_release.errors import AuroraError
from aurora_release.evidence import canonical
from aurora_release.recipe import Source

TOKENS, DOCUMENTS, IDS, WINDOWS, MANIFEST = (
    "tokens.bin", "documents.npy", "documents.txt", "windows.npy", "store.json",
)  # fmt: skip

_DOCUMENT = np.dtype([("start", "<i8"), ("length", "<i4"), ("prompt", "<i4"), ("source", "<i4")])
_WINDOW = np.dtype([("start", "<i8"), ("length", "<i4")])


@dataclass(frozen=True)
class Part:
    """What the store holds of one source."""

    name: str
    language: str
    license: str
    documents: int
    tokens: int
    first_window: int
    windows: int


@dataclass(frozen=True)
class Sample:
    """One training sequence; arrays of `sequence_length` int64."""

    tokens: NDArray[np.int64]
    positions: NDArray[np.int64]
    """Restart at 0 in every document: this is what keeps packed documents apart."""
    labels: NDArray[np.int64]
    """-100 where there is no loss: first tokens, prompts, padding."""
    source: str
    documents: tuple[str, ...]


class Writer:
    """Writes a store source by source; a context manager that closes its file."""

    def __init__(self, folder: Path, sequence_length: int, vocabulary: int) -> None:
        self._folder = folder
        self._length = sequence_length
        self._type = np.dtype("<u2" if vocabulary <= 2**16 else "<u4")
        self._tokens = (folder / TOKENS).open("wb")
        self._position = 0
        self._documents: list[tuple[int, int, int, int]] = []
        self._ids: list[str] = []
        self._windows: list[tuple[int, int]] = []
        self._parts: list[Part] = []

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *error: object) -> None:
        self._tokens.close()

    def add(self, source: Source, documents: Iterable[Tokens]) -> Part:
        """Append a source and return what was written of it."""
        first = len(self._documents)
        for document in documents:
            self._append(document, len(self._parts))
        added = self._documents[first:]
        windows = self._cut(added) if source.kind == "text" else self._pack(added)
        part = Part(
            source.name,
            source.language,
            source.license,
            len(added),
            sum(length for _, length, _, _ in added),
            len(self._windows),
            len(windows),
        )
        self._windows += windows
        self._parts.append(part)
        return part

    def finish(self, facts: dict[str, Any]) -> None:
        """Write the index and the manifest; `facts` go into the manifest as they are."""
        self._tokens.flush()
        np.save(self._folder / DOCUMENTS, np.array(self._documents, _DOCUMENT))
        np.save(self._folder / WINDOWS, np.array(self._windows, _WINDOW))
        atomic.write_text(self._folder / IDS, "".join(f"{name}\n" for name in self._ids))
        manifest = {
            **facts,
            "sequence_length": self._length,
            "dtype": self._type.str,
            "tokens": self._position,
            "sources": [asdict(part) for part in self._parts],
        }
        atomic.write_bytes(self._folder / MANIFEST, canonical(manifest) + b"\n")

    def _append(self, document: Tokens, source: int) -> None:
        self._tokens.write(np.array(document.ids, self._type).tobytes())
        self._documents.append((self._position, len(document.ids), document.prompt, source))
        self._ids.append(document.id.replace("\n", " "))
        self._position += len(document.ids)

    def _cut(self, documents: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
        """Return windows over running text: equal lengths, documents cut where they fall."""
        if not documents:
            return []
        start, end = documents[0][0], documents[-1][0] + documents[-1][1]
        return [(at, min(self._length, end - at)) for at in range(start, end, self._length)]

    def _pack(self, documents: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
        """Return windows of whole pairs, as many as fit; a longer pair is cut at the end."""
        windows: list[tuple[int, int]] = []
        start = length = 0
        for at, size, _, _ in documents:
            if length and length + size > self._length:
                windows.append((start, length))
                length = 0
            if not length:
                start = at
            length = min(length + size, self._length)
        return [*windows, (start, length)] if length else windows


class Store:
    """Reads a store; only the pages that are asked for come into memory."""

    def __init__(self, folder: Path) -> None:
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
        except (FileNotFoundError, ValueError) as error:
            raise AuroraError(
                f"{folder} is not a token store ({error}); run the data stage."
            ) from None
        self.sequence_length = int(manifest["sequence_length"])
        self.end_of_text = int(manifest["end_of_text"])
        self.parts = {part["name"]: Part(**part) for part in manifest["sources"]}
        self._folder = folder
        self._tokens = np.memmap(folder / TOKENS, np.dtype(manifest["dtype"]), "r")
        self._documents = np.load(folder / DOCUMENTS, mmap_mode="r")
        self._windows = np.load(folder / WINDOWS, mmap_mode="r")
        self._starts = self._documents["start"]

    @cached_property
    def _ids(self) -> list[str]:
        return (self._folder / IDS).read_text(encoding="utf-8").split("\n")

    def sample(self, source: str, window: int) -> Sample:
        """Return a window of a source as a training sequence."""
        start, size = self._windows[self.parts[source].first_window + window].item()
        length = self.sequence_length
        tokens = np.full(length, self.end_of_text, np.int64)
        tokens[:size] = self._tokens[start : start + size]
        positions = np.zeros(length, np.int64)
        positions[size:] = np.arange(length - size)
        labels = np.full(length, -100, np.int64)
        first = int(np.searchsorted(self._starts, start, "right")) - 1
        last = int(np.searchsorted(self._starts, start + size, "left"))
        for begin, count, prompt, _ in self._documents[first:last].tolist():
            low, high = max(begin - start, 0), min(begin + count - start, size)
            positions[low:high] = np.arange(high - low)
            learn = max(begin + max(prompt, 1) - start, low + 1)
            labels[learn:high] = tokens[learn:high]
        return Sample(tokens, positions, labels, source, tuple(self._ids[first:last]))
