"""Keeps what a model is measured on out of what it is trained on: n-grams in common."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datatrove.pipeline.base import PipelineStep
from numpy.typing import NDArray

from aurora_release.data.clean import ngrams, work
from aurora_release.data.clean.ngrams import Hashes
from aurora_release.data.clean.sift import documents
from aurora_release.data.clean.work import Work
from aurora_release.data.documents import Document
from aurora_release.errors import AuroraError
from aurora_release.recipe import Source
from aurora_release.shipped import resolve

_AT_MOST = 2**20
"""N-grams of held-out text that are compared: 10 MiB. Of more, every k-th by hash."""
_SHORTEST = 8
"""Words: an evaluation item of fewer says nothing that other texts would not say too."""


class Index(PipelineStep):  # type: ignore[misc]
    """Writes the n-grams of held-out text and of evaluation items, with the set they are from."""

    type, name = "clean", "index"

    def __init__(self, plan: Work, size: int) -> None:
        super().__init__()
        self._work = plan
        self._size = size

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        """Write the sets, and for each width the hashes, sorted, with the number of their set."""
        rules = self._work.data
        items = _Grams()
        for number, path in enumerate(rules.clean.decontaminate_against, len(rules.sources)):
            for text in _strings(self._work, path):
                for width in {self._width(source) for source in rules.sources}:
                    self._add_item(items, number, text, width)
        for number, document in self._held("pairs"):
            width = self._width(rules.sources[number])
            self._add_item(items, number, document.prompt or "", width)
        texts = _Grams(_AT_MOST)
        for number, document in self._held("text"):
            width = self._width(rules.sources[number])
            texts.add(number, width, ngrams.hashes(ngrams.tokens(document.text), width))
        folder = self._work.folder / "index"
        content = {
            "sets": [source.name for source in rules.sources]
            + list(rules.clean.decontaminate_against),
            "stride": texts.stride,
            "items": items.write(folder, "items"),
            "texts": texts.write(folder, "texts"),
        }
        with work.whole(folder / "index.json") as file:
            file.write(json.dumps(content).encode())

    def _width(self, source: Source) -> int:
        return ngrams.width(source.language, self._size)

    def _add_item(self, items: "_Grams", number: int, text: str, width: int) -> None:
        """Add the n-grams of an item; one shorter than an n-gram counts as a whole."""
        words = ngrams.tokens(text)
        if len(words) * self._size >= _SHORTEST * width:
            width = min(width, len(words))
            items.add(number, width, ngrams.hashes(words, width))

    def _held(self, kind: str) -> Iterator[tuple[int, Document]]:
        """Yield the held-out documents of one kind of source, with the source's number."""
        for rank, shard in enumerate(self._work.shards):
            if self._work.source(rank).kind == kind:
                for document in documents(self._work, rank, "held"):
                    yield shard.source, document


class _Grams:
    """Hashes of n-grams by set and width; beyond a number only every k-th, chosen by hash."""

    def __init__(self, at_most: int | None = None) -> None:
        self.stride = 1
        self._at_most = at_most
        self._parts: dict[tuple[int, int], list[Hashes]] = {}
        self._loose = 0

    def add(self, number: int, width: int, hashes: Hashes) -> None:
        """Add the n-grams of a text."""
        hashes = sample(hashes, self.stride)
        self._parts.setdefault((width, number), []).append(hashes)
        self._loose += len(hashes) + 1
        if self._loose > _AT_MOST:
            self._settle()

    def _settle(self) -> None:
        """Merge equal n-grams, and thin them while there are too many."""
        merged = {key: np.unique(np.concatenate(found)) for key, found in self._parts.items()}
        while self._at_most and sum(map(len, merged.values())) > self._at_most // 2:
            self.stride *= 2
            merged = {key: sample(found, self.stride) for key, found in merged.items()}
        self._parts = {key: [found] for key, found in merged.items()}
        self._loose = sum(map(len, merged.values())) // 2

    def write(self, folder: Path, name: str) -> list[int]:
        """Write hashes and sets of every width and return the widths."""
        self._settle()
        widths = sorted({width for width, _ in self._parts})
        for width in widths:
            mine = {key[1]: found[0] for key, found in self._parts.items() if key[0] == width}
            order = sorted(mine)
            sets = np.concatenate([np.full(len(mine[n]), n, np.uint16) for n in order])
            # of equal n-grams the first set is named: np.unique gives first places
            hashes, first = np.unique(np.concatenate([mine[n] for n in order]), return_index=True)
            work.save(folder / f"{name}-{width}-hashes", hashes)
            work.save(folder / f"{name}-{width}-sets", sets[first])
        return widths


def sample(hashes: Hashes, stride: int) -> Hashes:
    """Return the n-grams that are compared where every `stride`-th is (a power of two)."""
    return hashes[hashes & np.uint64(stride - 1) == 0] if stride > 1 else hashes


class Contamination:
    """Tells which training documents hold what the model is measured on."""

    def __init__(self, plan: Work) -> None:
        folder = plan.folder / "index"
        content = json.loads((folder / "index.json").read_bytes())
        self._sets: list[str] = content["sets"]
        self._stride: int = content["stride"]
        self._share = plan.data.clean.contaminated
        self._items = _read(folder, "items", content["items"])
        self._texts = _read(folder, "texts", content["texts"])

    def find(self, document: Document, language: str, size: int) -> tuple[str, float] | None:
        """Return the set that a document was measured with, and the share of n-grams in common.

        One n-gram of an evaluation item is enough; of held-out text it takes a share, because
        pages of one manual and files of one project have sentences in common.
        """
        if not self._items and not self._texts:
            return None
        width = ngrams.width(language, size)
        words = ngrams.tokens(document.text if document.prompt is None else document.prompt)
        sizes = {*self._items, width}
        hashes = ngrams.hashes_of(words, sizes)
        for own, index in self._items.items():
            hits = index.hits(hashes[own])
            if len(hits):
                return self._sets[hits[0]], len(hits) / len(hashes[own])
        compared = sample(hashes[width], self._stride)
        if document.prompt is not None or width not in self._texts or not len(compared):
            return None
        hits = self._texts[width].hits(compared)
        share = len(hits) / len(compared)
        if share < self._share:
            return None
        return self._sets[int(np.bincount(hits).argmax())], share


@dataclass(frozen=True)
class _Part:
    """N-grams of one width, sorted by hash."""

    hashes: Hashes
    sets: NDArray[np.uint16]

    def hits(self, hashes: Hashes) -> NDArray[np.uint16]:
        """Return the sets of those n-grams that are known."""
        at = np.searchsorted(self.hashes, hashes)
        at[at == len(self.hashes)] = 0
        found: NDArray[np.uint16] = self.sets[at[self.hashes[at] == hashes]]
        return found


def _read(folder: Path, name: str, widths: list[int]) -> dict[int, _Part]:
    return {
        width: _Part(
            np.asarray(work.load(folder / f"{name}-{width}-hashes")),
            np.asarray(work.load(folder / f"{name}-{width}-sets")),
        )
        for width in widths
    }


def _strings(plan: Work, path: str) -> Iterator[str]:
    """Yield every string of a file of JSON lines."""
    file = resolve(path, plan.beside)
    where = "data.clean.decontaminate_against"
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    content = json.loads(line)
                except ValueError as error:
                    raise AuroraError(f"{file}:{number} ({where}) is no JSON ({error}).") from None
                values = content.values() if isinstance(content, dict) else [content]
                yield from (value for value in values if isinstance(value, str))
    except FileNotFoundError:
        raise AuroraError(f"{file} is missing: {where} names it. Correct the path.") from None
