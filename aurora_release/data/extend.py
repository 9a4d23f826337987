"""The vocabulary stage: a tokenizer that goes on learning, and a model with rows for it."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aurora_release import atomic, evidence
from aurora_release.data.documents import documents
from aurora_release.data.store import Part
from aurora_release.data.vocabulary import fertility
from aurora_release.errors import AuroraError
from aurora_release.recipe import Recipe
from aurora_release.run import Job

log = logging.getLogger(__name__)

_CHARACTERS = 4_000_000
_SERVED = 0.75
# old tokens as single characters, so that the trainer of `tokenizers` can go on merging them
_FIRST = 0x10000


def extend(job: Job) -> dict[str, Any]:
    """Write the base model with a larger vocabulary; return fertility before and after.

    The merges of the tokenizer stay and new ones follow, learned on the training text of the
    languages it serves badly (Purason et al. 2025, arXiv 2512.03989, "continued BPE training").
    Old merges come first, so that every new token is a run of old ones: any text still comes back
    to the byte, and the rows of a new token are the mean of the rows of its run.
    """
    from tokenizers import Tokenizer

    base, count = job.before["base"], job.recipe.data.extend_vocabulary or 0
    content = json.loads((base / "tokenizer.json").read_bytes())
    _byte_level(content, job.recipe)
    old = Tokenizer.from_str(json.dumps(content))
    texts = _texts(job.recipe, job.before["clean"])
    before = _measure(old, texts)
    poor = _underserved(before)
    merges = _learn(old, _same_size([texts[name] for name in poor]), count)
    runs = _add(content, merges)
    leave = shutil.ignore_patterns(evidence.FILE)
    shutil.copytree(base, job.folder, dirs_exist_ok=True, ignore=leave)
    atomic.write_text(job.folder / "tokenizer.json", json.dumps(content, ensure_ascii=False))
    after = _measure(Tokenizer.from_str(json.dumps(content)), texts)
    rows = _grow(job.folder, runs)
    for name in before:
        log.info(
            "vocabulary     %-6s %.3f -> %.3f tokens a character", name,
            before[name]["tokens_per_character"], after[name]["tokens_per_character"],
        )  # fmt: skip
    return {"added": len(runs), "merges": len(merges), "learned_on": poor, "rows": rows,
            "before": before, "after": after}  # fmt: skip


def _byte_level(content: dict[str, Any], recipe: Recipe) -> None:
    kind, decoder = content["model"]["type"], json.dumps(content.get("decoder"))
    if kind != "BPE" or "ByteLevel" not in decoder:
        raise AuroraError(
            f"data.extend_vocabulary needs a byte-level BPE tokenizer; that of {recipe.model.base} "
            f"is {kind} and decodes by {decoder[:60]}. Leave the key out, or choose another base."
        )


def _texts(recipe: Recipe, clean: Path) -> dict[str, list[str]]:
    """Return the first texts of each language, up to a number of characters."""
    texts: dict[str, list[str]] = {}
    for source in recipe.data.sources:
        if source.kind == "text":
            found = (document.text for document in documents(clean, source.name))
            texts.setdefault(source.language, []).extend(_first(found, _CHARACTERS))
    return {name: list(_first(iter(found), _CHARACTERS)) for name, found in texts.items()}


def _first(texts: Iterator[str], characters: int) -> Iterator[str]:
    for text in texts:
        yield text[:characters]
        characters -= len(text)
        if characters <= 0:
            return


def _same_size(languages: list[list[str]]) -> list[str]:
    """Return as many characters of each language as the smallest of them has."""
    least = min(sum(map(len, texts)) for texts in languages)
    return [text for texts in languages for text in _first(iter(texts), least)]


def _measure(tokenizer: Any, texts: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """Return the fertility of a tokenizer on texts."""
    parts = []
    for language, found in texts.items():
        part = Part(language, language, "", "text", 0, 0, 0)
        for encoding in tokenizer.encode_batch_fast(found, add_special_tokens=False):
            part.tokens += len(encoding.ids)
        part.characters = sum(map(len, found))
        part.bytes = sum(len(text.encode()) for text in found)
        part.words = sum(len(text.split()) for text in found)
        parts.append(part)
    return fertility(parts)


def _underserved(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return the languages whose tokens hold clearly less text than those of the best served."""
    best = max(row["bytes_per_token"] for row in found.values())
    poor = [name for name, row in found.items() if row["bytes_per_token"] < _SERVED * best]
    if not poor:
        raise AuroraError(
            "data.extend_vocabulary: the tokenizer serves every language of data.sources about "
            "as well as the best, so there is nothing to add. Leave the key out."
        )
    return poor


def _learn(tokenizer: Any, texts: list[str], count: int) -> list[tuple[list[str], list[str]]]:
    """Return the next `count` merges: two runs of old tokens each, the most frequent first."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    lines = [
        _as_characters(encoding)
        for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)
    ]
    alphabet = {character for line in lines for character in line} - {" "}
    pupil = Tokenizer(models.BPE())
    pupil.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    pupil.train_from_iterator(
        lines,
        trainers.BpeTrainer(vocab_size=len(alphabet) + count, min_frequency=2, show_progress=False),
    )
    names = tokenizer.get_vocab(with_added_tokens=True)
    token = {number: name for name, number in names.items()}
    return [
        (
            [token[ord(character) - _FIRST] for character in left],
            [token[ord(character) - _FIRST] for character in right],
        )
        for left, right in json.loads(pupil.to_str())["model"]["merges"]
    ]


def _as_characters(encoding: Any) -> str:
    """Return a text with a character for each token and a space between words."""
    line: list[str] = []
    last = None
    for number, word in zip(encoding.ids, encoding.word_ids, strict=True):
        if word != last and line:
            line.append(" ")
        line.append(chr(_FIRST + number))
        last = word
    return "".join(line)


def _add(
    content: dict[str, Any], merges: list[tuple[list[str], list[str]]]
) -> dict[int, list[int]]:
    """Write merges into a tokenizer; return the run of old tokens behind each new one."""
    model = content["model"]
    added = [token["id"] for token in content.get("added_tokens", ())]
    vocabulary, following = dict(model["vocab"]), max(*model["vocab"].values(), *added) + 1
    as_text = bool(model["merges"]) and isinstance(model["merges"][0], str)
    runs = {}
    for left, right in merges:
        first, second = "".join(left), "".join(right)
        model["merges"].append(f"{first} {second}" if as_text else [first, second])
        if first + second not in model["vocab"]:
            model["vocab"][first + second] = following
            runs[following] = [vocabulary[name] for name in (*left, *right)]
            following += 1
    return runs


def _grow(folder: Path, runs: dict[int, list[int]]) -> int:
    """Give the model in `folder` rows for new tokens; return how many rows it then has."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", use_safetensors=True)
    size: int = max(model.get_input_embeddings().weight.shape[0], max(runs) + 1)
    model.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        for table in (model.get_input_embeddings(), model.get_output_embeddings()):
            weight = table.weight
            for number, run in runs.items():
                weight[number] = weight[run].float().mean(0).to(weight.dtype)
    for stale in folder.glob("*.safetensors*"):
        stale.unlink()
    model.save_pretrained(folder)
    return size
