"""Keys and values of all running requests, in tensors made once."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class SlotCache:
    """A transformers cache with one row a request, each row filled up to its own length.

    Running requests fill the first rows, without a gap, so decoding reads a view and copies
    nothing. It has the four methods that transformers models call (as in `transformers.Cache`,
    whose subclass it would be if that could be imported late).
    """

    is_compileable = False

    def __init__(self, rows: int, length: int):
        self._shape = (rows, length)
        self._keys: list[torch.Tensor] = []
        """One a layer: [rows, heads, length, size of a head]."""
        self._values: list[torch.Tensor] = []
        self._row = 0
        self._positions: torch.Tensor | None = None
        self._longest = 0

    def prefill(self, row: int) -> None:
        """Let the next forward pass fill `row` from its start."""
        self._row = row
        self._positions = None

    def decode(self, positions: "torch.Tensor", longest: int) -> None:
        """Let the next forward pass add one token to each of the first rows.

        `positions`: [rows in use], where each row writes; `longest`: the largest of them, plus 1.
        """
        self._positions = positions
        self._longest = longest

    def move(self, source: int, target: int) -> None:
        """Copy row `source` over row `target`."""
        for tensor in (*self._keys, *self._values):
            tensor[target].copy_(tensor[source])

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
            end = keys.shape[2]
            all_keys[self._row, :, :end] = keys[0]
            all_values[self._row, :, :end] = values[0]
            return keys, values
        import torch

        rows = torch.arange(len(keys), device=keys.device)
        all_keys[rows, :, self._positions] = keys[:, :, 0]
        all_values[rows, :, self._positions] = values[:, :, 0]
        return all_keys[: len(keys), :, : self._longest], all_values[
            : len(keys), :, : self._longest
        ]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return 0: only prefill asks, and it starts from nothing."""
        return 0

    def get_query_offset(self, layer_idx: int = 0) -> int:
        """Return 0, for the same reason."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Return (length, offset) of the keys of a prefill."""
        return query_length, 0

    def _allocate(self, keys: "torch.Tensor", values: "torch.Tensor") -> None:
        rows, length = self._shape
        for store, like in ((self._keys, keys), (self._values, values)):
            # zeros, not empty: a masked NaN would still poison the sum over the values
            store.append(like.new_zeros(rows, like.shape[1], length, like.shape[3]))
