"""`which` equals a replay of the whole order, token by token, that shares no code with it."""

import json
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aurora_release.cli import app
from aurora_release.data.mixture import permute
from aurora_release.data.tokens import Tokens
from aurora_release.data.which import which
from aurora_release.data.writer import Writer
from aurora_release.errors import AuroraError
from aurora_release.recipe import Recipe, Source

LENGTH, BATCH, MICRO = 16, 8, 2
STAGES = {
    "cap": {"en": 0.3, "fi": 1.7, "code": 0.5},
    "cat": {"en": 0.21, "fi": 0.9, "pairs": 0.33},
}
STEPS = {"cap": 400, "cat": 900}


def _recipe() -> Recipe:
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


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    (folder / "data").mkdir(parents=True)
    with Writer(folder / "data", LENGTH, 300, shard_bytes=1000) as writer:
        for source in _recipe().data.sources:
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


def _replay() -> dict[str, list[Counter[str]]]:
    """Walk the whole order from its first sample and note what every sample holds."""
    read: Counter[str] = Counter()
    samples: dict[str, list[Counter[str]]] = {}
    windows = {name: _windows(name) for name in ("en", "fi", "code", "pairs")}
    for stage, mixture in STAGES.items():
        names, count = sorted(mixture), STEPS[stage] * BATCH
        due = sorted(
            (Fraction((len(names) + 1) * n + k + 1) / Fraction(str(mixture[name])), k, name)
            for k, name in enumerate(names)
            for n in range(count)
        )
        samples[stage] = []
        for _, _, name in due[:count]:
            epoch, index = divmod(read[name], len(windows[name]))
            place = permute(index, len(windows[name]), f"11:{name}:{epoch}")
            samples[stage].append(windows[name][place])
            read[name] += 1
    return samples


def test_a_thousand_random_steps_equal_the_replay(run: Path) -> None:
    recipe, samples, chance = _recipe(), _replay(), random.Random(5)
    for _ in range(1000):
        stage = chance.choice(list(STAGES))
        step = chance.randint(1, STEPS[stage])
        ranks = chance.choice((1, 2, 4))
        rank = chance.randrange(ranks)
        batch = samples[stage][(step - 1) * BATCH : step * BATCH]
        mine = [row for at, row in enumerate(batch) if at // MICRO % ranks == rank]
        answer = which(recipe, run, step, stage, rank, ranks)
        expected = sum(mine, Counter[str]())
        assert {row["id"]: row["tokens"] for row in answer["documents"]} == expected
        assert answer["tokens"] == expected.total()
        for key in ("source", "language", "license"):
            assert sum(answer[key].values()) == expected.total()


def test_every_document_has_its_own_licence_and_replay_is_its_share(run: Path) -> None:
    answer = which(_recipe(), run, 7)
    for row in answer["documents"]:
        own = int(row["id"].partition("-")[2]) % 3
        assert row["license"] == ("CC-BY-4.0" if own else "MIT")
    english = sum(row["tokens"] for row in answer["documents"] if row["language"] == "en")
    assert answer["replay"] == english / answer["tokens"] > 0


def test_what_cannot_be_answered_says_why(run: Path) -> None:
    with pytest.raises(AuroraError, match="--step 0: cap has steps 1 to 400"):
        which(_recipe(), run, 0)
    with pytest.raises(AuroraError, match="--stage dog: train.stages has cap, cat"):
        which(_recipe(), run, 1, "dog")
    with pytest.raises(AuroraError, match="--rank 2: ranks are counted from 0 to 1"):
        which(_recipe(), run, 1, rank=2, ranks=2)


def test_an_answer_for_another_order_is_refused(run: Path) -> None:
    statement = {
        "predicateType": "urn:aurora-release:stage:v1",
        "predicate": {"measured": {"order": "another"}},
    }
    (run / "cat").mkdir()
    (run / "cat" / "evidence.json").write_text(json.dumps(statement), encoding="utf-8")
    with pytest.raises(AuroraError, match="was trained in another order"):
        which(_recipe(), run, 1, "cat")
    (run / "cat" / "evidence.json").unlink()


def test_the_command_prints_documents_and_totals(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(_recipe().model_dump_json(), encoding="utf-8")
    told = ["data", "which", str(path), "--step", "3", "--runs", str(run.parent)]
    text = CliRunner().invoke(app, told).output
    found = json.loads(CliRunner().invoke(app, [*told, "--json"]).output)
    assert found == json.loads(json.dumps(which(_recipe(), run, 3))) | {"replay": found["replay"]}
    assert all(row["id"] in text for row in found["documents"])
    assert "% replay" in text
