"""What two releases differ in, as a table and as JSON."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aurora_release import evidence
from aurora_release.card.stage import seal
from aurora_release.errors import AuroraError
from aurora_release.publish.diff import diff, text


@pytest.fixture
def later(released: Path, tmp_path: Path) -> Callable[..., Path]:
    """Makes another release, of which the evidence of a stage is changed."""

    def made(stage: str, change: Callable[[Any], None]) -> Path:
        folder = Path(shutil.copytree(released, tmp_path / "later", dirs_exist_ok=True))
        path = folder / f"evidence/{stage}.json"
        content = json.loads(path.read_bytes())
        change(content["predicate"])
        path.write_bytes(evidence.canonical(content) + b"\n")
        seal(folder)
        return folder

    return made


def test_a_release_is_the_same_as_itself(released: Path) -> None:
    assert text(diff(released, released)).startswith("The same release: both have the same SHA256")


def test_a_metric_has_its_change_and_its_interval(
    released: Path, later: Callable[..., Path]
) -> None:
    def better(predicate: Any) -> None:
        row = predicate["measured"]["bits_per_byte"]["help-fi"]
        row["per_document"]["bits"] = [bits * 0.9 for bits in row["per_document"]["bits"]]
        row["bits_per_byte"] *= 0.9

    found = diff(released, later("evaluate-cat", better))
    (row,) = found["metrics"]
    assert (row["model"], row["source"]) == ("trained", "help-fi")
    assert row["change"] == pytest.approx(-0.1)
    assert row["interval"] == pytest.approx([-0.1, -0.1])
    assert "trained, help-fi: bits per byte 1.265 -> 1.138, -10.0 % [-10.0, -10.0]" in text(found)


def test_other_documents_have_no_interval(released: Path, later: Callable[..., Path]) -> None:
    def other(predicate: Any) -> None:
        predicate["measured"]["bits_per_byte"]["python"]["per_document"]["bytes"][0] += 1

    assert diff(released, later("evaluate-nf4", other))["metrics"][0]["interval"] is None


def test_data_and_files_that_changed_are_named(released: Path, later: Callable[..., Path]) -> None:
    def more(predicate: Any) -> None:
        predicate["measured"]["sources"]["help-en"]["tokens"] = 200_000

    found = diff(released, later("data", more))
    assert found["data"] == {"help-en.tokens": [123_456, 200_000]}
    assert "help-en.tokens: 123456 -> 200000" in text(found)
    assert "changed  evidence/data.json" in text(found)
    assert found["recipe"] == {} and found["safety"] == []


def test_a_recipe_is_compared_by_the_names_of_its_parts(released: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(released, tmp_path / "later"))
    recipe = json.loads((folder / "recipe.json").read_bytes())
    recipe["train"]["stages"][1]["learning_rate"] = 1e-4
    (folder / "recipe.json").write_bytes(evidence.canonical(recipe))
    seal(folder)
    assert diff(released, folder)["recipe"] == {"train.stages.cat.learning_rate": [3e-4, 1e-4]}


def test_safety_has_both_rates_with_their_intervals(
    released: Path, later: Callable[..., Path], small_run: Path
) -> None:
    before = evidence.measured(evidence.read(small_run / "evaluate-base/evidence.json"))

    def worse(predicate: Any) -> None:
        predicate["measured"]["safety"] = before["safety"]

    found = diff(released, later("evaluate-cat", worse))
    assert "trained, fi: attack success 2 of 6 (10-70 %) -> 5 of 6 (44-97 %)" in text(found)
    assert json.loads(json.dumps(found)) == found


def test_a_folder_that_is_no_release_is_named(released: Path, tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match=r"recipe\.json is missing"):
        diff(released, tmp_path / "nowhere")


def test_what_others_wrote_is_shown_and_not_obeyed(
    released: Path, later: Callable[..., Path]
) -> None:
    def escape(predicate: Any) -> None:
        predicate["environment"]["packages"] = {"torch": "\x1b[2J\n  evil: 1 -> 2"}

    said = text(diff(released, later("cat", escape)))
    assert "\x1b" not in said and "\n  evil" not in said and r"\x1b[2J\n  evil" in said
