"""The conversion certificate: how far a variant is from its source, measured side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release.errors import AuroraError
from aurora_release.evaluate.load import LoadedModel, load
from aurora_release.evidence import sha256, sha256_file
from aurora_release.quantize.gguf import FILE
from aurora_release.quantize.vocabulary import read_tokenizer

if TYPE_CHECKING:
    import torch


def certificate(
    source: Path, variant: Path, texts: Sequence[str], *, new_tokens: int = 8
) -> dict[str, Any]:
    """Return how far `variant` is from `source` on `texts`.

    Logits are compared at every position of the texts, in the number format that both are
    evaluated in. Greedy agreement is the share of `new_tokens` tokens after each text that are
    equal up to the first that differs.

    Raises:
        AuroraError: tokenizer or chat template differ: such a variant must not be released.
    """
    original, changed = load(source), load(variant)
    ids = [original.tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    result = {
        "texts": len(texts),
        "tokenizer_equal": _equal_tokenizations(original, variant, changed, texts),
        "chat_template": _template(original, variant, changed),
        "source_weights": weights(source),
        "weights": weights(variant),
    }
    return result | _distance(original, changed, ids, new_tokens)


def weights(folder: Path) -> dict[str, str]:
    """Return {name: SHA-256} of the weights files of a model or variant folder."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf")])
    return {path.name: sha256_file(path) for path in files}


def _equal_tokenizations(
    original: LoadedModel, variant: Path, changed: LoadedModel, texts: Sequence[str]
) -> int:
    """Return how many texts get the same tokens: all of them, or there is no certificate."""
    if (variant / FILE).is_file():
        # the tokenizer that llama.cpp reads, not the files beside it
        inside = read_tokenizer(variant / FILE)
        found = [inside.encode(text).ids for text in texts]
    else:
        found = [changed.tokenizer(text).input_ids for text in texts]
    for text, ids in zip(texts, found, strict=True):
        if original.tokenizer(text).input_ids != ids:
            raise AuroraError(
                f"{variant}: the tokenizer cuts {text[:40]!r} differently than the source model's. "
                "Its pre-tokenizer was lost or changed; make the variant again."
            )
    return len(texts)


def _template(original: LoadedModel, variant: Path, changed: LoadedModel) -> str | None:
    """Return the SHA-256 of the chat template that source and variant share."""
    found = changed.template_digest
    if (variant / FILE).is_file():
        from gguf import GGUFReader

        field = GGUFReader(variant / FILE).fields.get("tokenizer.chat_template")
        found = sha256(field.contents().encode()) if field else None
    if found != original.template_digest:
        raise AuroraError(
            f"{variant}: its chat template is not that of the source model ({found} instead of "
            f"{original.template_digest}); make the variant again."
        )
    return found


def _distance(
    original: LoadedModel, changed: LoadedModel, ids: Sequence[list[int]], new_tokens: int
) -> dict[str, float | int]:
    """Return the distance of logits and of greedy continuations over tokenized texts."""
    largest, total, positions, same, agreed = 0.0, 0.0, 0, 0, 0
    for text in ids:
        expected, found = _logits(original, text), _logits(changed, text)
        difference = (expected - found).abs()
        largest = max(largest, difference.max().item())
        total += difference.mean(dim=-1).sum().item()
        same += int((expected.argmax(-1) == found.argmax(-1)).sum())
        positions += len(text)
        agreed += _agreement(original, changed, text, new_tokens)
    return {
        "positions": positions,
        "logit_difference_max": largest,
        "logit_difference_mean": total / positions,
        "same_next_token": same / positions,
        "greedy_tokens": new_tokens * len(ids),
        "greedy_agreement": agreed / (new_tokens * len(ids)),
    }


def _logits(loaded: LoadedModel, ids: list[int]) -> "torch.Tensor":
    """Return float32 logits [token, vocabulary]."""
    import torch

    with torch.inference_mode():
        inputs = torch.tensor([ids], device=loaded.model.device)
        logits: torch.Tensor = loaded.model(inputs).logits[0].float()
    return logits


def _agreement(original: LoadedModel, changed: LoadedModel, ids: list[int], count: int) -> int:
    """Return how many greedy tokens are equal before the first that differs."""
    expected, found = _greedy(original, ids, count), _greedy(changed, ids, count)
    equal = [a == b for a, b in zip(expected, found, strict=True)]
    return (equal + [False]).index(False)


def _greedy(loaded: LoadedModel, ids: list[int], count: int) -> list[int]:
    """Return `count` greedy tokens, whether or not one of them ends the text."""
    import torch

    new: list[int] = []
    cache = None
    step = torch.tensor([ids], device=loaded.model.device)
    with torch.inference_mode():
        while len(new) < count:
            output = loaded.model(step, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            step = output.logits[:, -1:].argmax(-1)
            new.append(int(step))
    return new
