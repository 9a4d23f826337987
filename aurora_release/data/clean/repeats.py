"""Documents that are there twice: to the letter, or nearly."""

from pathlib import Path
from typing import Any

import numpy as np
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.dedup import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupSignature,
)
from datatrove.utils.word_tokenizers import WordTokenizer
from numpy.typing import NDArray

from aurora_release.data.clean import ngrams, work
from aurora_release.data.clean.sift import DIGEST, documents
from aurora_release.data.clean.work import KEPT, Work

_AT_ONCE = 2**21
"""Digests held in memory: 32 MiB."""
_SHINGLE = 5
"""Words in a shingle, as in Lee et al. 2022."""
_HASHES = 112
_PAIR = np.dtype([("place", "<u8"), ("first", "<u8")])


class Repeats(PipelineStep):  # type: ignore[misc]
    """Finds texts that are equal; the first stays: held-out ones, then in the recipe's order.

    datatrove's exact deduplication keeps the first within a file only and does not say what a
    document repeats, so the digests are joined here: sorted files, one range of digests at a time.
    """

    type, name = "clean", "repeats"

    def __init__(self, plan: Work) -> None:
        super().__init__()
        self._work = plan

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        """Write, for each shard, the places of repeated documents and of those they repeat."""
        plan = self._work
        files = [work.load(plan.path("digests", number)) for number in range(len(plan.shards))]
        ranges = max(1, -(-sum(map(len, files)) // _AT_ONCE))
        edges = [number * 2**64 // ranges for number in range(ranges)] + [2**64 - 1]
        found = [
            _equal(np.concatenate([_between(file, low, high) for file in files]))
            for low, high in zip(edges, edges[1:], strict=False)
        ]
        _spread(plan, "repeated", np.concatenate(found))


def _between(file: NDArray[Any], low: int, high: int) -> NDArray[Any]:
    column = file["digest"]
    last = len(file) if high == 2**64 - 1 else np.searchsorted(column, np.uint64(high))
    return np.asarray(file[np.searchsorted(column, np.uint64(low)) : last])


def _equal(rows: NDArray[Any]) -> NDArray[Any]:
    """Return (place, place of the first) for every row whose digest an earlier place has."""
    rows = np.sort(rows, order=DIGEST.names)
    new = np.ones(len(rows), bool)
    new[1:] = rows["digest"][1:] != rows["digest"][:-1]
    first = rows["place"][new][np.cumsum(new) - 1] if len(rows) else rows["place"]
    pairs = np.empty(int((~new).sum()), _PAIR)
    pairs["place"], pairs["first"] = rows["place"][~new], first[~new]
    return pairs


def _spread(plan: Work, kind: str, pairs: NDArray[Any]) -> None:
    """Write pairs into one file a shard, sorted by place."""
    pairs = np.sort(pairs)
    ranks = (pairs["place"] & np.uint64(~KEPT & 2**64 - 1)) >> np.uint64(32)
    for rank in range(len(plan.shards)):
        work.save(plan.path(kind, rank), pairs[ranks == rank])


def repeated(plan: Work, kind: str, rank: int) -> dict[int, int]:
    """Return {place: place of the document it repeats} in a shard; empty where it was not asked."""
    if not plan.path(kind, rank).with_suffix(".npy").is_file():
        return {}
    return {int(at): int(first) for at, first in work.load(plan.path(kind, rank)).tolist()}


def config(similarity: float) -> MinhashConfig:
    """Return the bands of hashes whose curve rises at a similarity: (1 / bands) ** (1 / rows)."""
    rows = min(
        (rows for rows in range(1, _HASHES + 1) if _HASHES % rows == 0),
        key=lambda rows: abs((rows / _HASHES) ** (1 / rows) - similarity),
    )
    return MinhashConfig(n_grams=_SHINGLE, num_buckets=_HASHES // rows, hashes_per_bucket=rows)


class Signatures(MinhashDedupSignature):  # type: ignore[misc]
    """datatrove's MinHash signatures over our n-grams, which need no dictionary of a language."""

    def __init__(self, plan: Work, similarity: float) -> None:
        super().__init__(str(plan.folder / "minhash"), config(similarity), _Words("none"))
        self._work = plan
        self._size = _SHINGLE

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        """Write the signatures of shard number `rank`, sorted, one file a band."""
        source = self._work.source(rank)
        self._size = ngrams.width(source.language, _SHINGLE)
        kept = documents(self._work, rank, "kept") if source.kind == "text" else iter(())
        super().run(kept, rank, world_size)

    def get_shingles(self, text: str) -> NDArray[np.uint64]:
        """Return the hashed n-grams of a text, shape (n, 1)."""
        return np.unique(ngrams.hashes(ngrams.tokens(text), self._size)).reshape(-1, 1)

    def get_signature(self, shingles: NDArray[np.uint64]) -> list[list[int]]:
        """Return the least hash of each function, by band, in constant memory."""
        parts = [
            np.array(super(Signatures, self).get_signature(shingles[start : start + 4096]))
            for start in range(0, len(shingles), 4096)
        ]
        found: list[list[int]] = np.min(parts, axis=0).tolist()
        return found


class _Words(WordTokenizer):  # type: ignore[misc]
    """Stands where datatrove wants a dictionary; only `get_shingles` above makes words."""

    def word_tokenize(self, text: str) -> list[str]:
        return ngrams.tokens(text)

    def sent_tokenize(self, text: str) -> list[str]:
        return [text]

    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]


class Nearly(PipelineStep):  # type: ignore[misc]
    """Keeps the first document of each of datatrove's clusters, in the recipe's order."""

    type, name = "clean", "nearly"

    def __init__(self, plan: Work) -> None:
        super().__init__()
        self._work = plan

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        """Write, for each shard, the places of near duplicates and of those they are near to."""
        folder = self._work.folder / "clusters"
        files = sorted(folder.glob("*.clusters")) if folder.is_dir() else []
        parts = [_clusters(file) for file in files]
        if not parts:
            return
        place, cluster = (np.concatenate(column) for column in zip(*parts, strict=True))
        _, first, group = np.unique(cluster, return_index=True, return_inverse=True)
        pairs = np.empty(len(place), _PAIR)
        pairs["place"], pairs["first"] = place, place[first][group]
        _spread(self._work, "near", pairs[pairs["place"] != pairs["first"]])


def _clusters(file: Path) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return places, in order, and clusters of one shard."""
    rows: NDArray[Any] = np.fromfile(file, "<u4").reshape(-1, 2)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    return np.uint64(work.place(True, int(file.stem), 0)) | rows[:, 0].astype(np.uint64), rows[:, 1]


def passes(plan: Work, similarity: float | None) -> list[tuple[str, list[PipelineStep], int]]:
    """Return the passes that find repetitions: name, steps, tasks."""
    found: list[tuple[str, list[PipelineStep], int]] = [("repeats", [Repeats(plan)], 1)]
    if similarity:
        bands = config(similarity)
        signatures, pairs, clusters = (
            str(plan.folder / name) for name in ("minhash", "near-pairs", "clusters")
        )
        buckets = MinhashDedupBuckets(signatures, pairs, config=bands, lines_to_buffer=1000)
        cluster = MinhashDedupCluster(pairs, clusters, config=bands, save_cluster_id=True)
        found += [
            ("signatures", [Signatures(plan, similarity)], len(plan.shards)),
            ("near pairs", [buckets], bands.num_buckets),
            ("clusters", [cluster, Nearly(plan)], 1),
        ]
    return found
