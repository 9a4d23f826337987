"""The token store: memory-mapped shards of token ids, and an index of what every token is from."""

import os
import weakref
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aurora_release import parse
from aurora_release.errors import AuroraError
from aurora_release.evidence import sha256_file

MANIFEST = "store.json"
STARTS = "starts.npy"
"""Where each document begins, in tokens; one entry more than there are documents."""
_RUN = 2**20
"""Entries of the index read at a time."""
MARKS, BLOCK = "marks.npy", 512
"""Where every 512th document begins: small enough to be held, so that a search reads one page."""
PROMPTS = "prompts.npy"
"""How many first tokens of each document carry no loss."""
LICENSES = "licenses.npy"
"""The licence of each document, as its number in the manifest."""
IDS, ID_STARTS = "ids.bin", "id-starts.npy"
"""The ids of all documents in UTF-8, and where each begins; one entry more than documents."""
WINDOWS = "windows.npy"
"""Where each window of pairs begins, in tokens. Windows of running text are computed."""


def shard(number: int) -> str:
    """Return the name of a token shard."""
    return f"tokens-{number:05}.bin"


_Number = Annotated[int, Field(ge=0, lt=2**62)]


@dataclass
class Part:
    """What the store holds of one source: a run of documents, one after the other."""

    name: str
    language: str
    license: str
    kind: Literal["text", "pairs"]
    first_document: _Number
    first_token: _Number
    first_window: _Number
    documents: _Number = 0
    tokens: _Number = 0
    windows: _Number = 0
    characters: _Number = 0
    bytes: _Number = 0
    """UTF-8 bytes of its text."""
    words: _Number = 0
    """Pieces of its text between white space."""
    fim: _Number = 0
    """Documents written fill-in-the-middle."""
    licenses: dict[str, int] = field(default_factory=dict)
    """Tokens by licence."""


@dataclass(frozen=True)
class Span:
    """The part of a document that lies in a window; places are counted from the window's start."""

    document: int
    low: int
    high: int
    learn: int
    """The first token that carries loss."""


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


class Array:
    """A flat `.npy` array that is read piece by piece.

    It is not mapped: the kernel maps 16 pages for each one touched, so that 2,048 searches in a
    mapped index of 10^8 documents hold 630 MB of memory; read by position, they hold nothing.
    """

    def __init__(self, path: Path, dtype: str, length: int) -> None:
        self._length, self.dtype = length, np.dtype(dtype)
        try:
            with path.open("rb") as file:
                np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
                head = np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
                self._offset = file.tell()
            size = path.stat().st_size - self._offset
        except (OSError, ValueError, TypeError, SyntaxError, TokenError):
            raise _changed(path) from None
        if head != ((length,), False, self.dtype) or size < length * self.dtype.itemsize:
            raise _changed(path)
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> int:
        return int(self.read(index, index + 1)[0])

    def rises(self, last: int) -> bool:
        """Return whether no entry is below 0, above `last`, or below the one before it."""
        before = 0
        for first in range(0, self._length, _RUN):
            run = self.read(first, min(first + _RUN, self._length))
            if run[0] < before or run[-1] > last or (run[1:] < run[:-1]).any():
                return False
            before = int(run[-1])
        return True

    def read(self, first: int, last: int) -> NDArray[np.int64]:
        """Return the entries from `first` up to, not including, `last`."""
        size = self.dtype.itemsize
        content = os.pread(self._file, (last - first) * size, self._offset + first * size)
        return np.frombuffer(content, self.dtype)


class Store:
    """Reads a store; only what is asked for comes into memory."""

    def __init__(self, folder: Path) -> None:
        manifest = _manifest(folder)
        self.folder = folder
        self.sequence_length = manifest.sequence_length
        self.end_of_text = manifest.end_of_text
        self.documents = manifest.documents
        self.tokens = manifest.tokens
        self.licenses = manifest.licenses
        self.shards = manifest.shards
        """SHA-256 of each shard by its name."""
        self.parts = {part.name: part for part in manifest.sources}
        self._type = np.dtype(manifest.dtype)
        self._shard_tokens = manifest.shard_tokens
        self._mapped: dict[int, NDArray[np.uint32]] = {}
        for number, name in enumerate(self.shards):
            tokens = min(self._shard_tokens, self.tokens - number * self._shard_tokens)
            path = folder / name
            if not path.is_file() or path.stat().st_size < tokens * self._type.itemsize:
                raise _changed(path)
        of_pairs = sum(part.windows for part in self.parts.values() if part.kind == "pairs")
        marks = Array(folder / MARKS, "<i8", -(-self.documents // BLOCK))
        self._marks = marks.read(0, len(marks))
        self._starts = Array(folder / STARTS, "<i8", self.documents + 1)
        self._prompts = Array(folder / PROMPTS, "<i4", self.documents)
        self._licenses = Array(folder / LICENSES, "<u2", self.documents)
        self._windows = Array(folder / WINDOWS, "<i8", of_pairs)
        self._id_starts = Array(folder / ID_STARTS, "<i8", self.documents + 1)
        if not (folder / IDS).is_file():
            raise _changed(folder / IDS)
        self._ids = os.open(folder / IDS, os.O_RDONLY)
        weakref.finalize(self, os.close, self._ids)

    @property
    def windows(self) -> dict[str, int]:
        """How many windows each source has."""
        return {name: part.windows for name, part in self.parts.items()}

    def check(self) -> None:
        """Read every shard and the index once.

        Raises:
            AuroraError: a shard is missing or not what was written, or the index is out of order.
        """
        size = (self.folder / IDS).stat().st_size
        for name, column, last in (
            (STARTS, self._starts, self.tokens), (ID_STARTS, self._id_starts, size),
            (WINDOWS, self._windows, self.tokens),
        ):  # fmt: skip
            if not column.rises(last) or (name != WINDOWS and column[len(column) - 1] != last):
                raise _changed(self.folder / name)
        for number, mark in enumerate(self._marks):
            if mark != self._starts[number * BLOCK]:
                raise _changed(self.folder / MARKS)
        for name, digest in self.shards.items():
            path = self.folder / name
            if not path.is_file() or sha256_file(path) != digest:
                raise _changed(path)

    def sample(self, source: str, window: int) -> Sample:
        """Return a window of a source as a training sequence."""
        start, size = self.bounds(source, window)
        length = self.sequence_length
        tokens = np.full(length, self.end_of_text, np.int64)
        self._read(start, tokens[:size])
        positions = np.zeros(length, np.int64)
        positions[size:] = np.arange(length - size)
        labels = np.full(length, -100, np.int64)
        spans = self.spans(source, window)
        for span in spans:
            positions[span.low : span.high] = np.arange(span.high - span.low)
            labels[span.learn : span.high] = tokens[span.learn : span.high]
        ids = self.ids(spans[0].document, spans[-1].document + 1)
        return Sample(tokens, positions, labels, source, ids)

    def labels(self, source: str, window: int) -> int:
        """Return how many labels a window has; its tokens are not read."""
        return sum(max(0, span.high - span.learn) for span in self.spans(source, window))

    def bounds(self, source: str, window: int) -> tuple[int, int]:
        """Return where a window begins and how long it is, in tokens."""
        part, length = self.parts[source], self.sequence_length
        end = part.first_token + part.tokens
        if part.kind == "text":
            start = part.first_token + window * length
        else:
            at = part.first_window + window
            start = self._windows[at]
            end = self._windows[at + 1] if window + 1 < part.windows else end
        return start, min(length, end - start)

    def spans(self, source: str, window: int) -> list[Span]:
        """Return the documents of a window, in order."""
        start, size = self.bounds(source, window)
        first, edges = self._edges(start, start + size)
        prompts = [1] * (len(edges) - 1)
        if self.parts[source].kind == "pairs":
            prompts = self._prompts.read(first, first + len(edges) - 1).tolist()
        spans = []
        for number, prompt in enumerate(prompts):
            begin, end = edges[number] - start, edges[number + 1] - start
            low, high = max(begin, 0), min(end, size)
            learn = max(begin + max(prompt, 1), low + 1)
            spans.append(Span(first + number, low, high, learn))
        return spans

    def ids(self, first: int, last: int) -> tuple[str, ...]:
        """Return the ids of the documents from `first` up to, not including, `last`."""
        edges = self._id_starts.read(first, last + 1).tolist()
        content = os.pread(self._ids, edges[-1] - edges[0], edges[0])
        at = [edge - edges[0] for edge in edges]
        return tuple(content[a:b].decode() for a, b in zip(at, at[1:], strict=False))

    def license(self, source: str, document: int) -> str:
        """Return the licence of a document of a source."""
        only = self.parts[source].licenses
        return next(iter(only)) if len(only) == 1 else self.licenses[self._licenses[document]]

    def _edges(self, start: int, end: int) -> tuple[int, list[int]]:
        """Return the first document of a span of tokens, and where its documents begin and end."""
        first = BLOCK * (int(np.searchsorted(self._marks, start, "right")) - 1)
        found = self._starts.read(first, min(first + BLOCK, len(self._starts) - 1) + 1)
        skip = int(np.searchsorted(found, start, "right")) - 1
        edges: list[int] = found[skip:].tolist()
        while edges[-1] < end:
            more = first + skip + len(edges)
            edges += self._starts.read(more, min(more + BLOCK, len(self._starts))).tolist()
        return first + skip, edges[: bisect_left(edges, end) + 1]

    def _read(self, start: int, out: NDArray[np.int64]) -> None:
        """Fill `out` with the tokens from `start` on, whatever shards they lie in."""
        while len(out):
            number, at = divmod(start, self._shard_tokens)
            if number not in self._mapped:
                self._mapped[number] = np.memmap(self.folder / shard(number), self._type, "r")
            piece = self._mapped[number][at : at + len(out)]
            out[: len(piece)] = piece
            start, out = start + len(piece), out[len(piece) :]


class _Manifest(BaseModel):
    """What a store says of itself; facts that others put beside it are ignored."""

    model_config = ConfigDict(strict=True)

    sequence_length: Annotated[int, Field(gt=0, lt=2**31)]
    end_of_text: Annotated[int, Field(ge=0, lt=2**32)]
    documents: _Number
    tokens: _Number
    licenses: list[str]
    shards: dict[str, str]
    shard_tokens: Annotated[int, Field(gt=0, lt=2**62)]
    dtype: Literal["<u2", "<u4"]
    sources: list[Part]

    def adds_up(self) -> bool:
        """Return whether the sources lie one after the other, and the shards hold them all."""
        document = token = window = 0
        for part in self.sources:
            if (part.first_document, part.first_token, part.first_window) != (
                document, token, window
            ):  # fmt: skip
                return False
            document, token = document + part.documents, token + part.tokens
            window += part.windows if part.kind == "pairs" else 0
            running = -(-part.tokens // self.sequence_length)
            if part.kind != "pairs" and part.windows != running:
                return False
        shards = max(1, -(-self.tokens // self.shard_tokens))
        return (
            (document, token) == (self.documents, self.tokens)
            and len(self.shards) == shards
            and list(self.shards) == [shard(number) for number in range(shards)]
            and len({part.name for part in self.sources}) == len(self.sources)
        )


def _manifest(folder: Path) -> _Manifest:
    """Return what a store says of itself."""
    path = folder / MANIFEST
    if not path.is_file():
        raise AuroraError(
            f"{folder} is not a token store: {MANIFEST} is missing. Run the data stage."
        )
    try:
        manifest = _Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = parse.sentences(error, MANIFEST)
        raise AuroraError(
            f"{path} does not describe a token store, or an older version wrote it. "
            f"Make it again: aurora run RECIPE --redo data.\n{wrong}"
        ) from None
    if not manifest.adds_up():
        raise AuroraError(
            f"{path} does not add up: its sources or shards are not those of its "
            f"{manifest.tokens} tokens. Make the store again: aurora run RECIPE --redo data."
        )
    return manifest


def _changed(path: Path) -> AuroraError:
    return AuroraError(
        f"{path} is not the {'shard' if path.suffix == '.bin' else 'index'} that {MANIFEST} "
        "describes: it was changed or cut. Restore it, or make the store again: "
        "aurora run RECIPE --redo data."
    )
