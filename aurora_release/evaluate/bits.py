"""Bits per byte: what a model needs to write down text, comparable across tokenizers."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aurora_release.errors import AuroraError
from aurora_release.evaluate.load import LoadedModel

if TYPE_CHECKING:
    import torch

SEPARATOR = "<|endoftext|>"
DOCUMENT_BYTES = 500
_ROWS = 256
"""Positions whose float32 log-probabilities exist at one time."""


@dataclass(frozen=True)
class Bits:
    """What a model needed for each of some documents."""

    document_bits: tuple[float, ...]
    document_bytes: tuple[int, ...]
    tokens: int

    @property
    def bits(self) -> float:
        """Bits of all documents."""
        return sum(self.document_bits)

    @property
    def bytes(self) -> int:
        """UTF-8 bytes of all documents."""
        return sum(self.document_bytes)

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.document_bytes)

    @property
    def bits_per_byte(self) -> float:
        """Bits divided by bytes."""
        return self.bits / self.bytes


@dataclass(frozen=True)
class Window:
    """A stretch of one document that the model sees at once."""

    document: int
    ids: tuple[int, ...]
    """The tokens seen and, last, one that is only predicted."""
    skip: int
    """Predictions at the start that an earlier window counted already."""


def read_texts(path: Path) -> list[str]:
    """Return the `text` of every line of a JSON lines file.

    Raises:
        AuroraError: a line is not JSON or has no text.
    """
    with path.open(encoding="utf-8") as lines:
        return [_text(path, number, line) for number, line in enumerate(lines, 1)]


def _text(path: Path, number: int, line: str) -> str:
    try:
        return str(json.loads(line)["text"])
    except (ValueError, TypeError, KeyError) as error:
        raise AuroraError(
            f"{path} line {number} is no document ({error!r}): every line is JSON with a `text`."
        ) from None


def take(texts: Sequence[str], budget_bytes: int) -> list[str]:
    """Return the beginnings of documents, in order, that fill `budget_bytes` of UTF-8.

    Documents are cut after `DOCUMENT_BYTES` so that many count, later where there are too few of
    them to fill the budget; no character is cut in two.
    """
    limit = max(DOCUMENT_BYTES, -(-budget_bytes // max(len(texts), 1)))
    taken = []
    for text in texts:
        begin = _cut(text, min(limit, budget_bytes))
        if begin:
            taken.append(begin)
            budget_bytes -= len(begin.encode())
    return taken


def _cut(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore")


def bits_per_byte(
    loaded: LoadedModel, texts: Sequence[str], *, context: int, batch_tokens: int
) -> Bits:
    """Return the bits that `loaded` needs for `texts`, each read on its own from its first byte.

    A token of a document longer than `context` is scored once, with at least half of `context`
    before it. Batches hold at most `batch_tokens` tokens (or one row) and do not change the result.
    """
    context = min(context, getattr(loaded.model.config, "max_position_embeddings", context))
    encoded = loaded.tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False
    )["input_ids"]
    first = separator(loaded)
    windows = [
        window
        for document, ids in enumerate(encoded)
        for window in _windows(document, (first, *ids), context)
    ]
    bits = [0.0] * len(texts)
    for batch in _batches(windows, batch_tokens):
        for window, found in zip(batch, _score(loaded, batch), strict=True):
            bits[window.document] += found
    sizes = tuple(len(text.encode()) for text in texts)
    return Bits(tuple(bits), sizes, sum(len(ids) for ids in encoded))


def separator(loaded: LoadedModel) -> int:
    """Return the token a document begins after."""
    tokenizer = loaded.tokenizer
    if SEPARATOR in tokenizer.get_vocab():
        return int(tokenizer.convert_tokens_to_ids(SEPARATOR))
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    assert token is not None, "a causal language model has a token that begins or ends a document"
    return int(token)


def _windows(document: int, ids: Sequence[int], context: int) -> Iterator[Window]:
    """Yield the windows of one document; `ids` begins with the separator, which is not scored."""
    last = len(ids) - 1
    scored = 0
    while scored < last:
        end = min(scored + (context // 2 if scored else context), last)
        start = max(0, end - context)
        yield Window(document, tuple(ids[start : end + 1]), scored - start)
        scored = end


def _batches(windows: Sequence[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Yield windows of like length together, the longest first."""
    batch: list[Window] = []
    for window in sorted(windows, key=lambda window: -len(window.ids)):
        if batch and (len(batch) + 1) * (len(batch[0].ids) - 1) > batch_tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _score(loaded: LoadedModel, batch: Sequence[Window]) -> list[float]:
    """Return the bits of each window's counted predictions."""
    import torch

    width = max(len(window.ids) for window in batch) - 1
    inputs = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros_like(inputs)
    targets = torch.full_like(inputs, -1)
    for row, window in enumerate(batch):
        length = len(window.ids) - 1
        inputs[row, :length] = torch.tensor(window.ids[:-1])
        mask[row, :length] = 1
        targets[row, window.skip : length] = torch.tensor(window.ids[window.skip + 1 :])
    device = loaded.model.device
    # not inference_mode: a model in training (ZeRO 3) keeps what it gathers in here
    with torch.no_grad():
        logits = loaded.model(
            input_ids=inputs.to(device), attention_mask=mask.to(device), use_cache=False
        ).logits
        return _sum_bits(logits, targets.to(device))


def _sum_bits(logits: "torch.Tensor", targets: "torch.Tensor") -> list[float]:
    """Return the bits of each row.

    `logits` are (rows, width, vocabulary), `targets` (rows, width) with -1 where nothing counts.
    """
    import torch
    from torch.nn.functional import cross_entropy

    nats = torch.zeros(targets.numel(), dtype=torch.float64, device=targets.device)
    flat, wanted = logits.flatten(0, 1), targets.flatten()
    counted = (wanted >= 0).nonzero().flatten()
    for start in range(0, len(counted), _ROWS):
        places = counted[start : start + _ROWS]
        lost = cross_entropy(flat[places].float(), wanted[places], reduction="none")
        nats[places] = lost.double()
    return [row / math.log(2) for row in nats.view(targets.shape).sum(1).tolist()]
