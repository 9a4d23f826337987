"""Continuations of a prompt, by a model in this process or behind a URL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aurora_release.data import fim
from aurora_release.errors import AuroraError
from aurora_release.evaluate.bits import separator
from aurora_release.evaluate.load import LoadedModel
from aurora_release.evaluate.remote import RemoteModel
from aurora_release.evidence import sha256

Model = LoadedModel | RemoteModel
"""What can be evaluated."""

_SERVER_STOPS = 4
"""Stop strings that OpenAI takes."""


@dataclass(frozen=True)
class Sampling:
    """How text is continued."""

    samples: int = 1
    temperature: float = 0.0
    """0 takes the likeliest token."""
    max_new_tokens: int = 256
    seed: int = 0


@dataclass(frozen=True)
class Gap:
    """Where text is missing."""

    prompt: str
    """What stands before it."""
    suffix: str | None = None
    """What stands after it; None where nothing is known of that."""
    stop: tuple[str, ...] = ()
    """It ends before the first of these."""


def continuations(model: Model, gap: Gap, how: Sampling) -> list[str]:
    """Return `how.samples` texts for a gap, each cut before its first stop string.

    Chance is drawn from the seed and the gap alone, whatever else is asked. A beginning that is
    too long for the model is cut on the left.

    Raises:
        AuroraError: the model has no room for an answer, or cannot fill a gap.
    """
    seed = int(sha256(f"{how.seed} {gap.prompt}{gap.suffix or ''}".encode())[:8], 16)
    ids = encoded(model, gap, how)
    if isinstance(model, RemoteModel):
        asked = {
            "prompt": ids, "n": how.samples, "max_tokens": how.max_new_tokens, "seed": seed,
            "temperature": how.temperature, "stop": list(gap.stop[:_SERVER_STOPS]) or None,
        }  # fmt: skip
        texts: Iterable[str] = (choice["text"] for choice in model.complete(asked))
    else:
        texts = _generate(model, ids, gap.stop, how, seed)
    return [cut(text, gap.stop) for text in texts]


def cut(text: str, stop: Sequence[str]) -> str:
    """Return the text before the first of the stop strings."""
    places = [place for word in stop if (place := text.find(word)) >= 0]
    return text[: min(places)] if places else text


def encoded(model: Model, gap: Gap, how: Sampling) -> list[int]:
    """Return the tokens that ask for what is missing.

    Around a gap they are prefix, suffix, middle, the form that training writes half of the time.
    Source: Bavarian et al. 2022, arXiv:2207.14255, section 3 (PSM).
    """
    if gap.suffix is None:
        before, after = model.tokenizer(gap.prompt, add_special_tokens=False)["input_ids"], []
    else:
        mark = fim.marks(model.tokenizer)
        parts = [gap.prompt, gap.suffix]
        how_read = {"add_special_tokens": False, "split_special_tokens": True}
        before, suffix = model.tokenizer(parts, **how_read)["input_ids"]
        before = [mark["prefix"], *before]
        after = [mark["suffix"], *suffix, mark["middle"]]
    room = len(before) if model.longest is None else model.longest - how.max_new_tokens - len(after)
    if room < 1:
        raise AuroraError(
            f"The model sees {model.longest} tokens, and an answer of {how.max_new_tokens} leaves "
            "no room for what is asked: lower --max-new-tokens."
        )
    too_many = max(0, len(before) - room)
    # the mark of the beginning stays
    kept = before[:1] + before[1 + too_many :] if gap.suffix is not None else before[too_many:]
    return [*kept, *after]


def _generate(
    loaded: LoadedModel, ids: Sequence[int], stop: Sequence[str], how: Sampling, seed: int
) -> list[str]:
    import torch
    from transformers import GenerationConfig

    tokenizer, model = loaded.tokenizer, loaded.model
    inputs = torch.tensor([ids], device=model.device)
    chance: dict[str, Any] = (
        {"do_sample": True, "temperature": how.temperature, "top_k": 0} if how.temperature else {}
    )
    ends = {separator(tokenizer), tokenizer.eos_token_id} - {None}
    # in place of the model's own: generate() would mix its penalties and temperature in
    model.generation_config = GenerationConfig(
        max_new_tokens=how.max_new_tokens,
        num_return_sequences=how.samples,
        stop_strings=list(stop) or None,
        eos_token_id=sorted(ends),
        pad_token_id=min(ends),
        **chance,
    )
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        rows = model.generate(
            input_ids=inputs, attention_mask=torch.ones_like(inputs), tokenizer=tokenizer
        )
    texts: list[str] = tokenizer.batch_decode(rows[:, len(ids) :], skip_special_tokens=True)
    return texts
