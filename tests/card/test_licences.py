from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aurora_release import chain
from aurora_release.card import licences
from aurora_release.card.chain import Chain
from aurora_release.card.render import FILE, page
from aurora_release.card.stage import release
from aurora_release.errors import AuroraError
from aurora_release.recipe import Recipe
from aurora_release.run import Job


def of(recipe: Recipe, **model: Any) -> Chain:
    changed = recipe.model.model_copy(update=model)
    return Chain(recipe.model_copy(update={"model": changed}), {})


def test_descendant_of_starcoder_carries_the_use_restrictions(job: Job) -> None:
    model = {"base": "bigcode/starcoderplus", "license": "bigcode-openrail-m"}
    release(replace(job, recipe=of(job.recipe, **model).recipe))
    text = (job.folder / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("BigCode Open RAIL-M v1 License Agreement")
    assert "Attachment A - USE RESTRICTIONS" in text
    card = (job.folder / "README.md").read_text(encoding="utf-8")
    assert "**It restricts what the model may be used for.**" in card
    items = card[card.index("You may not use") : card.index("## Provenance")].count("\n- ")
    assert items == text.count("\n(") == 14
    assert "must hand on LICENSE" in (job.folder / "NOTICE").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ({"license": "other"}, "no text of it is here"),
        ({"license": "llama3.1"}, "model.license_file"),
        ({"base": "bigcode/starcoder", "license": "Apache-2.0"}, "descends from StarCoder"),
    ],
)
def test_restricting_licence_without_its_text_stops_the_release(
    recipe: Recipe, model: dict[str, str], sentence: str
) -> None:
    with pytest.raises(AuroraError, match="The release is not built") as error:
        licences.text(of(recipe, **model), Path())
    assert sentence in str(error.value)


def test_text_that_the_recipe_names_is_taken(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("use restrictions", encoding="utf-8")
    found = of(recipe, license="other", license_file="terms.txt")
    assert licences.text(found, tmp_path) == tmp_path / "terms.txt"
    card = page(FILE, found, {})
    assert "license_link: LICENSE" in card
    assert "[LICENSE](./LICENSE). **It restricts" in card


def test_permissive_licence_needs_no_text(recipe: Recipe) -> None:
    assert licences.text(of(recipe, license="MIT"), Path()) is None
    assert not licences.restricts(of(recipe, license="MIT"))


def test_a_run_warns_of_a_nameless_licence_before_its_first_stage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unnamed = ("model.license=other", "model.base=./nothing")
    with pytest.raises(AuroraError, match="neither a model folder here"):
        chain.run("demo", unnamed, tmp_path)
    assert "No licence is named for the base model (model.license)" in caplog.text
    caplog.clear()
    with pytest.raises(AuroraError, match="neither a model folder here"):
        chain.run("demo", unnamed, tmp_path, until="base")
    assert "No licence" not in caplog.text
