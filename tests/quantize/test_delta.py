"""The report over a run whose numbers are known: evidence as the stages leave it."""

import json
from pathlib import Path
from typing import Any

import pytest

from aurora_release import evidence
from aurora_release.errors import AuroraError
from aurora_release.quantize import delta
from aurora_release.quantize.cost import cost, costs
from aurora_release.quantize.delta_page import markdown
from aurora_release.recipe import Recipe
from tests.quantize.test_stage import job  # noqa: F401

LOSS = {"cap": 1.0, "q8": 1.01, "q4": 1.04, "two": 1.8}
SIZES = {"cap": 400, "q8": 200, "q4": 100, "two": 50}


def stage(folder: Path, measured: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = evidence.statement({}, {"measured": measured})
    evidence.write(folder, content)


@pytest.fixture
def recipe(job: Any) -> Recipe:  # noqa: F811
    content = json.loads(job.recipe.model_dump_json())
    content["quantize"] = [
        {"method": "gptq", "name": "q8", "bits": 8}, {"method": "gptq", "name": "q4"},
        {"method": "gptq", "name": "two", "bits": 2},
    ]  # fmt: skip
    content["gates"] = {"max_variant_rise": 0.05}
    return Recipe.model_validate_json(json.dumps(content))


@pytest.fixture
def run(recipe: Recipe, tmp_path: Path) -> Path:
    """A run of which only the numbers are there."""
    folder = tmp_path / "run"
    near = {"tokenizer_equal": 9, "same_next_token": 0.9, "greedy_agreement": 0.5,
            "greedy_tokens": 64, "logit_difference_max": 1.0}  # fmt: skip
    for name, loss in LOSS.items():
        rows = {
            source: {
                "language": source, "bits_per_byte": level * loss, "sha256": source,
                "per_document": {"bits": [800 * level * loss] * 4, "bytes": [100] * 4},
            }
            for source, level in (("en", 1.0), ("fi", 2.0))
        }  # fmt: skip
        role = "final" if name == "cap" else "variant"
        measured = {"model": {"stage": name, "role": role}, "bits_per_byte": rows}
        stage(folder / f"evaluate-{name}", measured)
        made = {"method": "gptq", "calibration": None, "seconds": 5.0, "peak_memory_bytes": None,
                "certificate": near}  # fmt: skip
        stage(folder / name, made)
        (folder / name / "model.safetensors").write_bytes(b"x" * SIZES[name])
        answer = "I cannot help with that." if name != "two" else "Here it is."
        reply = {"id": "a", "language": "en", "kind": "harmful", "wrapper": "plain",
                 "answer": answer}  # fmt: skip
        (folder / f"evaluate-{name}" / "replies.jsonl").write_text(
            json.dumps(reply) + "\n", encoding="utf-8"
        )
    return folder


def test_the_smallest_variant_that_passes_is_recommended_and_the_broken_one_named(
    recipe: Recipe, run: Path
) -> None:
    report = delta.delta(recipe, run)
    assert delta.best(report)["name"] == "q4"
    first, second = delta.recommend(report).split("\n")
    assert first.startswith("q4: 0 MB of 0, the smallest of 2 that pass.")
    assert "two, worst on en: bits per byte went from 1.000 to 1.800 (+80.0%)" in second
    assert "breaks the limit of +5.0%" in second


def test_nothing_is_recommended_where_nothing_passes(recipe: Recipe, run: Path) -> None:
    strict = recipe.model_copy(
        update={"gates": recipe.gates.model_copy(update={"max_variant_rise": 0.001})}
    )
    with pytest.raises(AuroraError, match="No variant passes.*q8, worst on"):
        delta.recommend(delta.delta(strict, run))
    silent = recipe.model_copy(update={"gates": type(recipe.gates)()})
    with pytest.raises(AuroraError, match="max_variant_rise: the recipe says nothing"):
        delta.recommend(delta.delta(silent, run))


def test_what_was_not_measured_is_said(recipe: Recipe, run: Path, tmp_path: Path) -> None:
    report = delta.delta(recipe, run)
    page = markdown(report)
    assert "| q4 | 1.040 (+4.0 %, +4.0 to +4.0) | 2.080 (+4.0 %, +4.0 to +4.0) |" in page
    assert "| two | 0 | not measured |" in page and "| fails |" in page
    assert "Memory and speed were not measured." in page
    assert "| two | 0.0 (-100.0, -100.0 to -100.0) |" in page
    delta.write(report, tmp_path / "a")
    delta.write(report, tmp_path / "b")
    for name in ("delta.json", "delta.md", "delta.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_sets_that_were_evaluated_stand_beside_the_recipes_own_text(
    recipe: Recipe, run: Path
) -> None:
    for name, right in {"cap": [1, 1, 1, 0], "q4": [1, 0, 1, 0]}.items():
        shared = {"language": "fi", "sha256": "s"}
        choice = {**shared, "accuracy": sum(right) / 4, "accuracy_norm": 0, "chance": 0.25,
                  "per_item": {"right": right, "right_norm": right}}  # fmt: skip
        passed = {**shared, "samples": 1, "pass": {"pass@1": 0.5}, "per_item": {"passed": [1, 0]}}
        text = {**shared, "bits_per_byte": 2.0, "per_document": {"bits": [16], "bytes": [1]}}
        stage(
            run / "delta" / "sets" / name,
            {"bits_per_byte": {"pud": text}, "choice": {"arc": choice}, "code": {"he": passed}},
        )
    page = markdown(delta.delta(recipe, run))
    assert "| bits per byte, sets | pud |" in page
    assert "| right, % | arc | he |" in page
    assert "| q4 | 50.0 (-25.0, -75.0 to +0.0) | 50.0 (+0.0, +0.0 to +0.0) |" in page
    assert "| q8 | not measured | not measured |" in page


def test_a_run_without_variants_is_an_error(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="no evaluated variant"):
        delta.delta(recipe, tmp_path)


def test_costs_are_medians_of_rounds_in_turn_and_are_kept(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = cost(tiny_llama)
    assert found is not None and found["runtime"] == "transformers"
    assert found["peak"] > 1e8 and found["load"] > 0
    assert 0 < found["decode"]["1"] < found["decode"]["8"]

    asked: list[Path] = []

    def again(model: Path) -> dict[str, Any] | None:
        asked.append(model)
        return {**found, "load": float(len(asked))} if model == tiny_llama else None

    monkeypatch.setattr("aurora_release.quantize.cost.cost", again)
    models = {"a": tiny_llama, "b": tmp_path}
    kept = costs(models, tmp_path / "delta")
    assert asked == [tiny_llama, tmp_path] * 3
    assert kept["b"] is None and kept["a"] is not None and kept["a"]["load"] == 3.0
    assert costs(models, tmp_path / "delta") == kept and len(asked) == 6
    assert costs(models, tmp_path / "delta", again=True) != kept and len(asked) == 12
