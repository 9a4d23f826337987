"""The conversion certificate: how far a variant is from its source, measured side by side."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release.errors import AuroraError
from aurora_release.evaluate.load import LoadedModel, load
from aurora_release.evidence import canonical, sha256, sha256_file
from aurora_release.quantize.gguf import FILE
from aurora_release.quantize.parity import strings
from aurora_release.quantize.vocabulary import read_tokenizer

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

NEW_TOKENS = 64
_CHARACTERS = 200


def certificate(
    source: Path,
    variant: Path,
    domains: Mapping[str, Sequence[str]],
    *,
    new_tokens: int = NEW_TOKENS,
) -> dict[str, Any]:
    """Return how far `variant` is from `source` on the texts of each domain.

    Logits are compared at every position of the first text of a domain, in the number format that
    both are evaluated in. Greedy agreement is the share of the source's `new_tokens` greedy tokens
    after that text which the variant chooses too, up to the first that differs.

    Raises:
        AuroraError: tokenizer or chat template differ: such a variant must not be released.
    """
    original, changed = load(source), load(variant, unpacked=True)
    cut = strings(domains)
    result = {
        "tokenizer_equal": _equal_tokenizations(original, variant, changed, cut),
        "tokenizer_strings": {name: sha256(canonical(texts)) for name, texts in cut.items()},
        "chat_template": _template(original, variant, changed),
        "source_weights": weights(source),
        "weights": weights(variant),
    }
    texts = {name: found[0][:_CHARACTERS] for name, found in domains.items() if any(found)}
    ids = [original.tokenizer(text, add_special_tokens=False).input_ids for text in texts.values()]
    each = {}
    for name, before, new in zip(texts, ids, _greedy(original, ids, new_tokens), strict=True):
        each[name] = _distance(original, changed, before, new)
        log.info("%-14s compared on %d of %d texts", variant.name, len(each), len(texts))
    return {**result, **_whole(each), "domains": each}


def weights(folder: Path) -> dict[str, str]:
    """Return {name: SHA-256} of the weights files of a model or variant folder."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf")])
    return {path.name: sha256_file(path) for path in files}


def _equal_tokenizations(
    original: LoadedModel,
    variant: Path,
    changed: LoadedModel,
    domains: Mapping[str, Sequence[str]],
) -> int:
    """Return how many strings get the same tokens: all of them, or there is no certificate."""
    # of a GGUF file the tokenizer that llama.cpp reads, not the files beside it
    inside = (variant / FILE).is_file()
    tokenizer = read_tokenizer(variant / FILE) if inside else changed.tokenizer.backend_tokenizer
    for domain, texts in domains.items():
        expected = original.tokenizer.backend_tokenizer.encode_batch_fast(list(texts))
        found = tokenizer.encode_batch_fast(list(texts))
        for text, one, other in zip(texts, expected, found, strict=True):
            if one.ids != other.ids:
                raise AuroraError(
                    f"{variant}: the tokenizer cuts {text[:40]!r} ({domain}) differently than the "
                    "source model's: its pre-tokenizer was lost or changed. "
                    + (
                        "Make the variant again."
                        if inside
                        else "Copy tokenizer.json and tokenizer_config.json of the source into it."
                    )
                )
    return sum(map(len, domains.values()))


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
    original: LoadedModel, changed: LoadedModel, ids: list[int], new: list[int]
) -> dict[str, float | int]:
    """Return the distance of logits over a text and of its greedy continuation `new`."""
    expected, found = _logits(original, ids + new), _logits(changed, ids + new)
    same = (expected.argmax(-1) == found.argmax(-1)).tolist()
    difference = (expected - found)[: len(ids)].abs()
    # while all before is equal, what a model would choose next is what it does choose
    greedy = [*same[len(ids) - 1 : -1], False]
    return {
        "positions": len(ids),
        "logit_difference_max": difference.max().item(),
        "logit_difference_mean": difference.mean().item(),
        "same_next_token": sum(same[: len(ids)]) / len(ids),
        "greedy_tokens": len(new),
        "greedy_agreement": greedy.index(False) / len(new),
    }


def _whole(each: Mapping[str, Mapping[str, float | int]]) -> dict[str, float | int]:
    """Return the distances over all domains: the largest difference, means by position."""
    rows = list(each.values())
    positions = sum(row["positions"] for row in rows)

    def mean(key: str) -> float:
        return sum(row[key] * row["positions"] for row in rows) / positions

    return {
        "texts": len(rows),
        "positions": positions,
        "logit_difference_max": max(row["logit_difference_max"] for row in rows),
        "logit_difference_mean": mean("logit_difference_mean"),
        "same_next_token": mean("same_next_token"),
        "greedy_tokens": sum(row["greedy_tokens"] for row in rows),
        "greedy_agreement": sum(row["greedy_agreement"] for row in rows) / len(rows),
    }


def _logits(loaded: LoadedModel, ids: list[int]) -> "torch.Tensor":
    """Return float32 logits [token, vocabulary]."""
    import torch

    with torch.inference_mode():
        inputs = torch.tensor([ids], device=loaded.model.device)
        logits: torch.Tensor = loaded.model(inputs).logits[0].float()
    return logits


def _greedy(loaded: LoadedModel, texts: Sequence[list[int]], count: int) -> list[list[int]]:
    """Return `count` greedy tokens after each text, whether or not one of them ends it."""
    import torch
    from transformers import GenerationConfig

    # in place of the model's own: generate() would mix its penalties in
    loaded.model.generation_config = GenerationConfig(
        do_sample=False, min_new_tokens=count, max_new_tokens=count, pad_token_id=0
    )
    width = max(map(len, texts))
    # what stands before a text is masked, so that any token will do
    padded = torch.tensor([[0] * (width - len(ids)) + ids for ids in texts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in texts])
    with torch.inference_mode():
        found = loaded.model.generate(
            padded.to(loaded.model.device),
            attention_mask=mask.to(loaded.model.device),
        )
    rows: list[list[int]] = found[:, width:].tolist()
    return rows
