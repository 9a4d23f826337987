"""A recipe small enough to train in seconds, over the tiny llama and a few lines of text."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from aurora_release.safety.ledger import Pair, Writer, append


def _text(folder: Path, name: str, words: str) -> dict[str, object]:
    path = folder / f"{name}.jsonl"
    lines = [
        json.dumps({"id": f"page-{n}", "text": f"{words} {n} " * 12}, ensure_ascii=False)
        for n in range(60)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"name": name, "language": name, "license": "CC0-1.0", "path": path.name}


def _pairs(folder: Path) -> dict[str, object]:
    made = [
        Pair(
            id=f"cyber-{n:02}-{kind}", language="en", category="cyber", kind=kind,
            prompt=f"Question {n}?", response=f"Answer {n} is {kind}.",
            source="test", license="CC0-1.0", writer=Writer(kind="model"),
        )
        for n in range(30) for kind in ("harmful", "benign")
    ]  # fmt: skip
    append(folder / "pairs.jsonl", made)
    return {
        "name": "pairs", "language": "en", "license": "CC0-1.0", "path": "pairs.jsonl",
        "kind": "pairs", "heldout": 0.2,
    }  # fmt: skip


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path) -> Path:
    """A recipe file beside its corpora: two sources and pairs, one stage of 120 steps."""
    folder = tmp_path_factory.mktemp("recipe")
    sources = [_text(folder, "fi", "kettu hyppää yli"), _text(folder, "ja", "素早い")]
    sources.append(_pairs(folder))
    stage = {"name": "cap", "tokens": 120 * 4 * 32, "learning_rate": 1e-3,
             "mixture": {"fi": 0.4, "ja": 0.4, "pairs": 0.2}}  # fmt: skip
    recipe = {
        "name": "tiny", "title": "Tiny", "seed": 1,
        "model": {"base": str(tiny_llama), "license": "CC0-1.0"},
        "data": {"sequence_length": 32, "sources": sources},
        "train": {"micro_batch": 2, "global_batch": 4, "checkpoint_every": 10, "stages": [stage]},
    }  # fmt: skip
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def group() -> Iterator[dict[str, str]]:
    """The environment of a process group of one; DeepSpeed can join only one in its life."""
    from aurora_release.log import quiet_libraries
    from aurora_release.train.engine import join, leave

    before = dict(os.environ)
    quiet_libraries()
    join()
    mine = dict(os.environ)
    _restore(before)
    yield mine
    leave()


def _restore(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture(scope="module")
def train(group: dict[str, str]) -> Iterator[Callable[..., Path]]:
    """A function that trains in this process, without the evaluations: many runs, one import."""
    from aurora_release import recipe as recipes
    from aurora_release.plan import plan
    from aurora_release.run import run

    def train(reference: Path, runs: Path, *overrides: str) -> Path:
        """Return the run folder."""
        recipe, beside = recipes.load(str(reference), overrides)
        wanted = {"base", "clean", "data", *recipe.trained}
        stages = [stage for stage in plan(recipe, beside) if stage.name in wanted]
        run(recipe, beside, stages, runs / recipe.name)
        return runs / recipe.name

    before = dict(os.environ)
    os.environ.update(group)
    yield train
    _restore(before)
