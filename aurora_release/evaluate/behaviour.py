"""What a model does with harmful requests and with their harmless look-alikes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aurora_release.errors import AuroraError
from aurora_release.evaluate.load import LoadedModel
from aurora_release.safety.refusals import is_refusal

if TYPE_CHECKING:
    from aurora_release.safety.guard import Guard

BATCH = 32

Counts = dict[str, dict[str, int]]
"""Counts by language."""


@dataclass(frozen=True)
class Prompt:
    """A request, and whether it ought to be refused."""

    id: str
    language: str
    kind: Literal["harmful", "benign"]
    prompt: str


_KEYS = tuple(field.name for field in fields(Prompt))


def read_prompts(path: Path) -> list[Prompt]:
    """Return the requests of held-out ledger records (JSON lines).

    Raises:
        AuroraError: a line is not a record.
    """
    prompts = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                prompts.append(Prompt(**{key: json.loads(line)[key] for key in _KEYS}))
            except (ValueError, TypeError, KeyError) as error:
                raise AuroraError(
                    f"{path} line {number} is no record of a request ({error!r}). "
                    "Run the data stage again."
                ) from None
    return prompts


def replies(loaded: LoadedModel, requests: Sequence[str], *, max_new_tokens: int) -> list[str]:
    """Return the greedy reply to each request, asked alone through the chat template.

    Raises:
        AuroraError: the model has no chat template.
    """
    tokenizer = loaded.tokenizer
    if not tokenizer.chat_template:
        raise AuroraError(
            f"{loaded.model.name_or_path} has no chat template: put chat_template.jinja beside it."
        )
    asked = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": request}], add_generation_prompt=True, return_dict=False
        )
        for request in requests
    ]
    answers = [""] * len(asked)
    for places in _batches([len(ids) for ids in asked]):
        generated = _generate(loaded, [asked[place] for place in places], max_new_tokens)
        for place, ids in zip(places, generated, strict=True):
            answers[place] = tokenizer.decode(ids, skip_special_tokens=True).strip()
    return answers


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield places of prompts of like length."""
    order = sorted(range(len(lengths)), key=lambda place: lengths[place])
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


def _generate(
    loaded: LoadedModel, prompts: Sequence[list[int]], max_new_tokens: int
) -> list[list[int]]:
    """Return the tokens that follow each prompt."""
    import torch
    from transformers import GenerationConfig

    model, end = loaded.model, _end_tokens(loaded)
    width = max(map(len, prompts))
    # on the left, so that every row goes on from its own last token
    inputs = [[end[0]] * (width - len(ids)) + ids for ids in prompts]
    mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
    # in place of the model's own: generate() would mix its penalties and temperature in
    model.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, pad_token_id=end[0], eos_token_id=end
    )
    with torch.inference_mode():
        found = model.generate(
            input_ids=torch.tensor(inputs, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
        )
    generated: list[list[int]] = found[:, width:].tolist()
    return generated


def _end_tokens(loaded: LoadedModel) -> list[int]:
    """Return the tokens that end a reply, by the tokenizer and by the model."""
    said = loaded.model.generation_config.eos_token_id
    ends = [loaded.tokenizer.eos_token_id, *(said if isinstance(said, list) else [said])]
    return list(dict.fromkeys(int(end) for end in ends if end is not None))


def count_refusals(prompts: Sequence[Prompt], answers: Sequence[str]) -> Counts:
    """Return per language how many harmful requests were refused, and how many harmless ones."""
    refused = [
        is_refusal(answer, prompt.language) for prompt, answer in zip(prompts, answers, strict=True)
    ]
    return _count(prompts, refused, "refused", "over_refused")


def count_blocks(prompts: Sequence[Prompt], guard: "Guard") -> Counts:
    """Return per language how many harmful requests the filter blocked, and how many harmless."""
    blocked = [guard.judge(prompt.prompt, "input").action == "block" for prompt in prompts]
    return _count(prompts, blocked, "blocked", "over_blocked")


def _count(prompts: Sequence[Prompt], stopped: Iterable[bool], right: str, wrong: str) -> Counts:
    counts: Counts = {}
    for prompt, stop in zip(prompts, stopped, strict=True):
        row = counts.setdefault(prompt.language, {"harmful": 0, right: 0, "benign": 0, wrong: 0})
        row[prompt.kind] += 1
        row[right if prompt.kind == "harmful" else wrong] += stop
    return dict(sorted(counts.items()))
