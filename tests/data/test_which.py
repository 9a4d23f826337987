"""`which` equals a replay of the whole order, token by token, that shares no code with it."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aurora_release.cli import app
from aurora_release.data.mixture import Order
from aurora_release.data.store import Store
from aurora_release.data.which import lines, which
from aurora_release.errors import AuroraError
from aurora_release.recipe import Recipe


def test_a_thousand_random_steps_equal_the_replay(
    two_stages: Recipe, run: Path, samples: dict[str, list[Counter[str]]]
) -> None:
    chance = random.Random(5)
    for _ in range(1000):
        stage = chance.choice(sorted(samples))
        step = chance.randint(1, len(samples[stage]) // 8)
        ranks = chance.choice((1, 2, 4))
        rank = chance.randrange(ranks)
        batch = samples[stage][(step - 1) * 8 : step * 8]
        mine = [row for at, row in enumerate(batch) if at // 2 % ranks == rank]
        answer = which(two_stages, run, step, stage, rank, ranks)
        expected = sum(mine, Counter[str]())
        assert {row["id"]: row["tokens"] for row in answer["documents"]} == expected
        assert answer["tokens"] == expected.total()
        for key in ("source", "language", "license"):
            assert sum(answer[key].values()) == expected.total()
            assert [*answer[key].values()] == sorted(answer[key].values(), reverse=True)


def test_every_document_has_its_own_licence_and_replay_is_its_share(
    two_stages: Recipe, run: Path
) -> None:
    answer = which(two_stages, run, 7)
    for row in answer["documents"]:
        own = int(row["id"].partition("-")[2]) % 3
        assert row["license"] == ("CC-BY-4.0" if own else "MIT")
    english = sum(row["tokens"] for row in answer["documents"] if row["language"] == "en")
    assert answer["replay"] == english / answer["tokens"] > 0


def test_an_answer_says_what_it_is_about(two_stages: Recipe, run: Path) -> None:
    for stage, name in ((None, "cap"), ("cat", "cat")):
        answer = which(two_stages, run, 400, stage)
        found = [answer[key] for key in ("stage", "step", "first_sample", "skipped")]
        assert found == [name, 400, 399 * 8, False]


def test_an_answer_reads_as_a_table_with_its_totals() -> None:
    rows = [("en-1", "help-en", "en", "MIT", 750), ("fi-1", "code", "fi", "CC-BY-4.0", 250)]
    keys = ("id", "source", "language", "license", "tokens")
    answer = {
        "stage": "cap", "step": 3, "first_sample": 16, "skipped": True, "tokens": 1000,
        "replay": 0.25, "source": {"help-en": 750, "code": 250}, "language": {"en": 750, "fi": 250},
        "license": {"MIT": 750, "CC-BY-4.0": 250},
        "documents": [dict(zip(keys, row, strict=True)) for row in rows],
    }  # fmt: skip
    table = [
        "     750  help-en  en    MIT             en-1",
        "     250  code     fi    CC-BY-4.0       fi-1",
        "",
        "    1000  tokens of 2 documents in step 3 of cap (samples from 16 on); 25.0% replay; "
        "skipped in training",
        "language  en 75.0%, fi 25.0%",
        " license  MIT 75.0%, CC-BY-4.0 25.0%",
        "  source  help-en 75.0%, code 25.0%",
    ]
    assert [*lines(answer)] == table
    table[3] = table[3].removesuffix("; skipped in training")
    assert [*lines(answer | {"skipped": False})] == table


def test_what_cannot_be_answered_says_why(two_stages: Recipe, run: Path) -> None:
    for step in (0, 401):
        with pytest.raises(AuroraError, match=f"--step {step}: cap has steps 1 to 400"):
            which(two_stages, run, step)
    with pytest.raises(AuroraError, match="--stage dog: train.stages has cap, cat"):
        which(two_stages, run, 1, "dog")
    with pytest.raises(AuroraError, match="--rank 2: ranks are counted from 0 to 1"):
        which(two_stages, run, 1, rank=2, ranks=2)
    with pytest.raises(AuroraError, match="--rank -1: "):
        which(two_stages, run, 1, rank=-1, ranks=2)


@contextmanager
def _evidence(folder: Path, **measured: object) -> Iterator[None]:
    folder.mkdir()
    statement = {
        "subject": [],
        "predicateType": "urn:aurora-release:stage:v1",
        "predicate": {"measured": measured},
    }
    (folder / "evidence.json").write_text(json.dumps(statement), encoding="utf-8")
    yield
    shutil.rmtree(folder)


def test_an_answer_for_another_order_is_refused(two_stages: Recipe, run: Path) -> None:
    order = Order(two_stages, two_stages.train.stages[1], Store(run / "data").windows)
    with (
        _evidence(run / "cat", order="0123456789ab" + "f" * 52),
        pytest.raises(AuroraError) as told,
    ):
        which(two_stages, run, 1, "cat")
    assert str(told.value) == (
        f"{run / 'cat'} was trained in another order (its evidence says 0123456789ab…, the recipe "
        f"{order.digest[:12]}…). Ask with the recipe and the overrides of that run."
    )


def test_a_step_that_training_took_back_is_called_skipped(two_stages: Recipe, run: Path) -> None:
    order = Order(two_stages, two_stages.train.stages[1], Store(run / "data").windows)
    with _evidence(run / "cat", order=order.digest, skipped=[{"step": 4}]):
        assert [which(two_stages, run, step, "cat")["skipped"] for step in (3, 4)] == [False, True]


def test_the_command_prints_documents_and_totals(
    two_stages: Recipe, run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(two_stages.model_dump_json(), encoding="utf-8")
    told = ["data", "which", str(path), "--step", "3", "--runs", str(run.parent)]
    text = CliRunner().invoke(app, told).output
    found = json.loads(CliRunner().invoke(app, [*told, "--json"]).output)
    assert found == json.loads(json.dumps(which(two_stages, run, 3))) | {"replay": found["replay"]}
    assert all(row["id"] in text for row in found["documents"])
    assert "% replay" in text
