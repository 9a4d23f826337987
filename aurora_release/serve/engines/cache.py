"""Keys and values of all running requests, and of prompts read before, in tensors made once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


CHUNK = 128
"""Prompt tokens that are read in one forward pass.

Prompts are kept and found again in whole chunks, so what is reused has the very bits that reading
it again would give: who was served before does not change an answer. They are found by their owner
alone, so that the time to a first token does not tell what others asked.
"""


@dataclass
class _Row:
    """What is known of one row."""

    known: tuple[int, ...] = ()
    """The tokens of the whole chunks at its start."""
    owner: str = ""
    """Whose they are."""
    filled: int = 0
    """Positions that were written, at least."""
    latest: int = 0
    """The number of its latest prompt, counted over all rows; 0: it had none."""


class SlotCache:
    """A transformers cache with one row a request, each row filled up to its own length.

    Running requests fill the first rows, without a gap, so decoding reads a view and copies
    nothing. The rows behind them keep the prompts of requests that ended. It has the four methods
    that transformers models call (as in `transformers.Cache`, whose subclass it would be if that
    could be imported late).
    """

    is_compileable = False

    def __init__(self, rows: int, length: int):
        self._shape = (rows, length)
        self._keys: list[torch.Tensor] = []
        """One a layer: [rows, heads, length, size of a head]."""
        self._values: list[torch.Tensor] = []
        self._rows = [_Row() for _ in range(rows)]
        self._row = self._start = self._prompts = 0
        self._positions: torch.Tensor | None = None
        self._longest = 0

    def reuse(self, row: int, prompt: Sequence[int], owner: str = "") -> int:
        """Put what any row of `owner` knows of a prompt into the free `row`.

        Returns how many tokens that is. The last token of a prompt is always left to be read: its
        scores are needed.
        """
        whole = tuple(prompt[: (len(prompt) - 1) // CHUNK * CHUNK])
        shared = [_shared(each.known, whole) if each.owner == owner else 0 for each in self._rows]
        source = shared.index(max(shared))
        size = shared[source]
        if not size:
            source = min(range(row, len(shared)), key=self._worth)
        if source >= row:
            self.swap(source, row)
        else:
            self._copy(source, row, size)
        self.know(row, whole[:size], owner)
        return size

    def _worth(self, row: int) -> tuple[bool, int]:
        """Return what is least of the row to overwrite: nothing known, or not asked for longest."""
        return bool(self._rows[row].known), self._rows[row].latest

    def know(self, row: int, prompt: Sequence[int], owner: str = "") -> None:
        """Note that `row` starts with the keys and values of these tokens, which `owner` sent."""
        self._prompts += 1
        kept = self._rows[row]
        kept.known, kept.owner = tuple(prompt[: len(prompt) // CHUNK * CHUNK]), owner
        kept.latest = self._prompts

    def prefill(self, row: int, start: int = 0) -> None:
        """Let the next forward pass fill `row` from position `start` on."""
        self._row, self._start = row, start
        self._positions = None

    def decode(self, positions: "torch.Tensor", longest: int) -> None:
        """Let the next forward pass add one token to each of the first rows.

        `positions`: [rows in use], where each row writes; `longest`: the largest of them, plus 1.
        """
        self._positions = positions
        self._longest = longest
        for row in self._rows[: len(positions)]:
            row.filled = max(row.filled, longest)

    def swap(self, one: int, other: int) -> None:
        """Exchange two rows."""
        if one == other:
            return
        size = max(self._rows[one].filled, self._rows[other].filled)
        for tensor in (*self._keys, *self._values):
            kept = tensor[one, :, :size].clone()
            tensor[one, :, :size] = tensor[other, :, :size]
            tensor[other, :, :size] = kept
        self._rows[one], self._rows[other] = self._rows[other], self._rows[one]

    def update(
        self, keys: "torch.Tensor", values: "torch.Tensor", layer_idx: int
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Store what a layer computed and return what it attends to.

        Shapes in: [rows, heads, new tokens, size of a head]; out: [rows, heads, all tokens, size].
        """
        if layer_idx == len(self._keys):
            self._allocate(keys, values)
        all_keys, all_values = self._keys[layer_idx], self._values[layer_idx]
        if self._positions is None:
            row, end = self._row, self._start + keys.shape[2]
            all_keys[row, :, self._start : end] = keys[0]
            all_values[row, :, self._start : end] = values[0]
            self._rows[row].filled = max(self._rows[row].filled, end)
            return all_keys[row : row + 1, :, :end], all_values[row : row + 1, :, :end]
        import torch

        rows = torch.arange(len(keys), device=keys.device)
        all_keys[rows, :, self._positions] = keys[:, :, 0]
        all_values[rows, :, self._positions] = values[:, :, 0]
        return all_keys[: len(keys), :, : self._longest], all_values[
            : len(keys), :, : self._longest
        ]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return 0: only the first chunk of a prompt comes without a mask and positions."""
        return 0

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Return 0, for the same reason."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Return (length, offset) of the keys of a first chunk."""
        return query_length, 0

    def _copy(self, source: int, target: int, size: int) -> None:
        for tensor in (*self._keys, *self._values):
            tensor[target, :, :size] = tensor[source, :, :size]
        self._rows[target].filled = max(self._rows[target].filled, size)

    def _allocate(self, keys: "torch.Tensor", values: "torch.Tensor") -> None:
        rows, length = self._shape
        for store, like in ((self._keys, keys), (self._values, values)):
            # zeros, not empty: a masked NaN would still poison the sum over the values
            store.append(like.new_zeros(rows, like.shape[1], length, like.shape[3]))


def _shared(known: tuple[int, ...], wanted: tuple[int, ...]) -> int:
    """Return how many tokens two prompts share at their start, in whole chunks."""
    size = min(len(known), len(wanted))
    while size and known[:size] != wanted[:size]:
        size -= CHUNK
    return size
