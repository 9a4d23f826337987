"""Validation measures the same texts against the base model, and leaves training as it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aurora_release import evidence
from aurora_release.errors import AuroraError
from aurora_release.evaluate.bits import bits_per_byte
from aurora_release.evaluate.load import load
from aurora_release.evidence import sha256_file

Train = Callable[..., Path]

pytestmark = pytest.mark.filterwarnings("ignore")  # DeepSpeed and what it imports

SHORT = ("train.stages.0.tokens=1536", "train.checkpoint_every=5")  # twelve steps
WATCHED = (*SHORT, "train.watch.validate_every=4", "train.watch.bytes_per_source=1200")


def _lines(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "validation.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def plain(train: Train, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny_recipe, tmp_path_factory.mktemp("plain"), *SHORT)


@pytest.mark.parametrize(("family", "zero"), [("tiny_llama", "zero0"), ("tiny_bigcode", "zero3")])
def test_weights_are_the_same_with_and_without_validation(
    family: str,
    zero: str,
    train: Train,
    tiny_recipe: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    # gpt_bigcode has dropout: training draws random numbers, and validation must not
    model = f"model.base={request.getfixturevalue(family)}"
    how = (model, f"train.zero=shipped:train/zero/{zero}.json")
    expected = train(tiny_recipe, tmp_path / "plain", *SHORT, *how)
    found = train(tiny_recipe, tmp_path / "watched", *WATCHED, *how)
    assert [line["step"] for line in _lines(found / "cap")] == [0, 4, 8, 12]
    assert sha256_file(found / "cap" / "model.safetensors") == sha256_file(
        expected / "cap" / "model.safetensors"
    )


def test_change_is_against_the_base_model_in_every_stage(
    train: Train, tiny_recipe: Path, tmp_path: Path
) -> None:
    (tiny_recipe.parent / "extra.jsonl").write_text(
        "".join(json.dumps({"text": f"el zorro salta {n}"}) + "\n" for n in range(30)), "utf-8"
    )
    stage = "{name: %s, tokens: 768, learning_rate: 0.01, mixture: {fi: 1, ja: 1}}"
    two = (
        f"train.stages=[{stage % 'cap'}, {stage % 'cat'}]",
        *WATCHED[2:],
        "train.watch.sets={extra: extra.jsonl}",
    )
    found = train(tiny_recipe, tmp_path, *two)
    cap, cat = _lines(found / "cap"), _lines(found / "cat")
    assert set(cap[0]["sets"]) == {"fi", "ja", "extra"}
    assert all(row["change"] == 0 for row in cap[0]["sets"].values())
    for name, row in cat[0]["sets"].items():
        assert row["bits_per_byte"] == pytest.approx(cap[-1]["sets"][name]["bits_per_byte"], 1e-3)
        low, high = row["interval"]
        assert low < row["change"] < high
        base = cap[0]["sets"][name]["bits_per_byte"]
        assert row["change"] == pytest.approx(row["bits_per_byte"] / base - 1)
    assert cat[-1]["sets"]["fi"]["change"] < -0.2
    texts = [f"el zorro salta {n}" for n in range(30)]
    exported = bits_per_byte(load(found / "cat"), texts, context=512, batch_tokens=256)
    assert cat[-1]["sets"]["extra"]["bits_per_byte"] == pytest.approx(exported.bits_per_byte, 1e-3)
    measured = evidence.measured(evidence.read(found / "cat" / "evidence.json"))
    assert [point[0] for point in measured["validation"]["curves"]["extra"]] == [0, 4, 6]


def test_broken_contract_stops_with_a_checkpoint_and_goes_on_with_another_floor(
    train: Train, tiny_recipe: Path, plain: Path, tmp_path: Path
) -> None:
    # a floor below zero asks for more than twelve steps can give
    broken = (*WATCHED, "train.watch.floors={fi: -0.9}")
    with pytest.raises(AuroraError, match=r"fi needs [-+].* at step 4; its floor is -90.0 %"):
        train(tiny_recipe, tmp_path, *broken)
    partial = tmp_path / "tiny" / "cap.partial"
    assert [path.name for path in (partial / "checkpoints").iterdir()] == ["step-000000004"]
    with pytest.raises(AuroraError, match="at step 4"):
        train(tiny_recipe, tmp_path, *broken)
    found = train(tiny_recipe, tmp_path, *broken, "train.watch.on_breach=warn")
    assert sha256_file(found / "cap" / "model.safetensors") == sha256_file(
        plain / "cap" / "model.safetensors"
    )
    measured = evidence.measured(evidence.read(found / "cap" / "evidence.json"))
    steps = [breach["step"] for breach in measured["forgetting"]["breaches"]]
    assert steps == [4, 8, 12]


def test_evidence_keeps_a_breach_of_floors_that_were_changed(
    train: Train, tiny_recipe: Path, tmp_path: Path
) -> None:
    with pytest.raises(AuroraError, match="at step 4; its floor is -90.0 %"):
        train(tiny_recipe, tmp_path, *WATCHED, "train.watch.floors={fi: -0.9}")
    found = train(tiny_recipe, tmp_path, *WATCHED, "train.watch.floors={fi: 0.5}")
    forgetting = evidence.measured(evidence.read(found / "cap" / "evidence.json"))["forgetting"]
    assert forgetting["floors"] == {"fi": 0.5}
    assert [(each["step"], each["floor"]) for each in forgetting["breaches"]] == [(4, -0.9)]


def test_watch_that_begins_with_the_second_stage_measures_the_base_model_itself(
    train: Train, tiny_recipe: Path, tmp_path: Path
) -> None:
    stage = "{name: %s, tokens: 512, learning_rate: 0.01, mixture: {fi: 1, ja: 1}}"
    two = f"train.stages=[{stage % 'cap'}, {stage % 'cat'}]"
    train(tiny_recipe, tmp_path, f"train.stages=[{stage % 'cap'}]")
    late = train(tiny_recipe, tmp_path, two, "train.watch.validate_every=4")
    assert not (late / "cap" / "validation.jsonl").exists()
    whole = train(tiny_recipe, tmp_path / "whole", two, "train.watch.validate_every=4")
    for mine, other in zip(_lines(late / "cat"), _lines(whole / "cat"), strict=True):
        assert mine["sets"]["fi"]["change"] == pytest.approx(
            other["sets"]["fi"]["change"], abs=0.01
        )
