"""Bits per byte: what a model needs to write down text, comparable across tokenizers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.evaluate.likelihood import Scorer, Window, scored

SEPARATOR = "<|endoftext|>"
DOCUMENT_BYTES = 500


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

    def row(self, language: str, digest: str) -> dict[str, Any]:
        """Return what evidence keeps of it; `digest` names the texts."""
        return {
            "language": language,
            "bits_per_byte": self.bits_per_byte,
            "bytes": self.bytes,
            "tokens": self.tokens,
            "documents": self.documents,
            "sha256": digest,
            "per_document": {
                "bits": [round(bits, 2) for bits in self.document_bits],
                "bytes": list(self.document_bytes),
            },
        }


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


def bits_per_byte(scorer: Scorer, texts: Sequence[str], *, context: int, batch_tokens: int) -> Bits:
    """Return the bits that `scorer` needs for `texts`, each read on its own from its first byte.

    A token of a document longer than `context` is scored once, with at least half of `context`
    before it. Batches hold at most `batch_tokens` tokens (or one row) and do not change the result.
    """
    context = min(context, scorer.longest or context)
    encoded = scorer.tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False
    )["input_ids"]
    first = separator(scorer.tokenizer)
    windows = [list(_windows((first, *ids), context)) for ids in encoded]
    found = iter(scored(scorer, [window for each in windows for window in each], batch_tokens))
    bits = tuple(sum(next(found).bits for _ in each) for each in windows)
    sizes = tuple(len(text.encode()) for text in texts)
    return Bits(bits, sizes, sum(len(ids) for ids in encoded))


def separator(tokenizer: Any) -> int:
    """Return the token a document begins after."""
    if SEPARATOR in tokenizer.get_vocab():
        return int(tokenizer.convert_tokens_to_ids(SEPARATOR))
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    assert token is not None, "a causal language model has a token that begins or ends a document"
    return int(token)


def _windows(ids: Sequence[int], context: int) -> Iterator[Window]:
    """Yield the windows of one document; `ids` begins with the separator, which is not scored."""
    last = len(ids) - 1
    scored = 0
    while scored < last:
        end = min(scored + (context // 2 if scored else context), last)
        start = max(0, end - context)
        yield Window(tuple(ids[start : end + 1]), scored - start)
        scored = end
