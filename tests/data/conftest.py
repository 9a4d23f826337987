"""A run of two stages over four sources, and a replay of it that shares no code with ours."""

import json
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from aurora_release.data.mixture import permute
from aurora_release.data.tokens import Tokens
from aurora_release.data.writer import Writer
from aurora_release.recipe import Recipe, Source

LENGTH, BATCH, MICRO = 16, 8, 2
STAGES = {
    "cap": {"en": 0.3, "fi": 1.7, "code": 0.5},
    "cat": {"en": 0.21, "fi": 0.9, "pairs": 0.33},
}
STEPS = {"cap": 400, "cat": 900}


@pytest.fixture(scope="session")
def two_stages() -> Recipe:
    """The recipe of the run: stages `cap` and `cat`, global batch 8, micro-batch 2, length 16."""
    sources = [
        {"name": name, "path": "x", "language": name if name != "pairs" else "fi",
         "license": "MIT", "kind": "pairs" if name == "pairs" else "text"}
        for name in ("en", "fi", "code", "pairs")
    ]  # fmt: skip
    stages = [
        {"name": name, "tokens": STEPS[name] * BATCH * LENGTH, "mixture": mixture,
         "learning_rate": 1e-4, "replay": ["en"]}
        for name, mixture in STAGES.items()
    ]  # fmt: skip
    return Recipe.model_validate_json(
        json.dumps({
            "name": "tiny",
            "title": "Tiny",
            "seed": 11,
            "model": {"base": "tiny", "license": "CC0-1.0"},
            "data": {"sources": sources, "sequence_length": LENGTH},
            "train": {"global_batch": BATCH, "micro_batch": MICRO, "stages": stages},
        })
    )  # fmt: skip


def _documents(name: str) -> list[Tokens]:
    chance = random.Random(name)
    return [
        Tokens(f"{name}-{n}", [n % 250] * chance.randint(2, 40 if name != "pairs" else 20), 1,
               "CC-BY-4.0" if n % 3 else "")
        for n in range(150)
    ]  # fmt: skip


@pytest.fixture(scope="session")
def run(two_stages: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder; two thirds of the documents have a licence of their own."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    (folder / "data").mkdir(parents=True)
    with Writer(folder / "data", LENGTH, 300, shard_bytes=1000) as writer:
        for source in two_stages.data.sources:
            writer.add(Source.model_validate(source), _documents(source.name))
        writer.finish({"end_of_text": 0})
    return folder


def _windows(name: str) -> list[Counter[str]]:
    """Cut a source by the rule: how many tokens of which documents each window holds."""
    windows: list[list[str]] = []
    if name == "pairs":
        for document in _documents(name):
            size = len(document.ids)
            if not windows or len(windows[-1]) + size > LENGTH:
                windows.append([])
            windows[-1] += [document.id] * size
        return [Counter(window[:LENGTH]) for window in windows]
    flat = [document.id for document in _documents(name) for _ in document.ids]
    return [Counter(flat[at : at + LENGTH]) for at in range(0, len(flat), LENGTH)]


@pytest.fixture(scope="session")
def samples() -> dict[str, list[Counter[str]]]:
    """What every sample of each stage holds (tokens by document), walked from the first on."""
    read: Counter[str] = Counter()
    found: dict[str, list[Counter[str]]] = {}
    windows = {name: _windows(name) for name in ("en", "fi", "code", "pairs")}
    for stage, mixture in STAGES.items():
        names, count = sorted(mixture), STEPS[stage] * BATCH
        due = sorted(
            (Fraction((len(names) + 1) * n + k + 1) / Fraction(str(mixture[name])), k, name)
            for k, name in enumerate(names)
            for n in range(count)
        )
        found[stage] = []
        for _, _, name in due[:count]:
            epoch, index = divmod(read[name], len(windows[name]))
            place = permute(index, len(windows[name]), f"11:{name}:{epoch}")
            found[stage].append(windows[name][place])
            read[name] += 1
    return found
