import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aurora_release import evidence
from aurora_release.card.stage import release
from aurora_release.errors import AuroraError
from aurora_release.recipe import Gates, Nf4, Recipe
from aurora_release.run import Job, run
from tests.card.conftest import stages


def test_release_holds_models_evidence_and_licences(small_run: Path, released: Path) -> None:
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"):
        assert (released / name).read_bytes() == (small_run / "cat" / name).read_bytes()
    assert not (released / "metrics.jsonl").exists()
    assert (released / "gguf/model.gguf").is_file()
    assert (released / "nf4/model.safetensors").is_file()
    for name in ("base", "clean", "data", "cap", "cat", "evaluate-base", "nf4", "evaluate-gguf"):
        copy = released / f"evidence/{name}.json"
        assert copy.read_bytes() == (small_run / name / "evidence.json").read_bytes()
    assert "Apache License" in (released / "LICENSE").read_text(encoding="utf-8")
    assert "help-fi (fi): MPL-2.0" in (released / "NOTICE").read_text(encoding="utf-8")


def test_same_stages_give_the_same_bytes(job: Job, released: Path) -> None:
    release(job)
    again = evidence.digests(job.folder)
    assert again == evidence.digests(released)
    assert "images/loss.png" in again and "images/bits.png" in again


def test_a_release_built_twice_is_the_same_in_every_byte(
    recipe: Recipe, small_run: Path, tmp_path: Path
) -> None:
    again = Path(shutil.copytree(small_run, tmp_path / "again"))
    done = run(recipe, again, stages(recipe, _no_model), again, frozenset({"release"}))
    assert [name for name, did in done.items() if did] == ["release"]
    assert evidence.digests(again / "release", ()) == evidence.digests(small_run / "release", ())


def _no_model(job: Job) -> None:
    raise AssertionError("the model was not to be made again")


def test_release_stands_alone(job: Job) -> None:
    release(job)
    assert not any(path.is_symlink() for path in job.folder.rglob("*"))
    assert (job.folder / "model.safetensors").stat().st_nlink == 1


def test_broken_gate_is_named_with_its_numbers_and_nothing_is_built(job: Job) -> None:
    recipe = job.recipe.model_copy(update={"gates": Gates(max_rise={"help-fi": -0.5})})
    with pytest.raises(AuroraError, match=r"help-fi: .* 1\.516 to 1\.265 .* limit of -50"):
        release(replace(job, recipe=recipe))
    assert not (job.folder / "model.safetensors").exists()
    assert not (job.folder / "README.md").exists()


def test_file_changed_after_its_stage_is_named(job: Job, small_run: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(small_run / "nf4", tmp_path / "nf4")
    (changed / "model.safetensors").write_text("other weights", encoding="utf-8")
    with pytest.raises(AuroraError, match=r"nf4/model\.safetensors was changed"):
        release(replace(job, before={**job.before, "nf4": changed}))


def test_evidence_of_another_training_is_named(job: Job, tmp_path: Path) -> None:
    other = shutil.copytree(job.before["cap"], tmp_path / "cap")
    content = evidence.read(other / "evidence.json")
    content["predicate"]["measured"]["steps"] = 41
    evidence.write(other, content)
    with pytest.raises(AuroraError, match=r"evidence/cap\.json is not the evidence that cat was"):
        release(replace(job, before={**job.before, "cap": other}))


def test_variant_cannot_take_the_name_of_a_release_folder(job: Job) -> None:
    variant = Nf4(method="nf4", name="evidence")
    recipe = job.recipe.model_copy(update={"quantize": (variant,)})
    with pytest.raises(AuroraError, match="'evidence'"):
        release(replace(job, recipe=recipe))


def test_licence_of_the_base_model_travels_with_it(job: Job, tmp_path: Path) -> None:
    base = shutil.copytree(job.before["base"], tmp_path / "base")
    (base / "LICENSE").write_text("use restrictions", encoding="utf-8")
    before = {**job.before, "base": base}
    _restate(before, "base", {**evidence.digests(base)})
    _relink(before, tmp_path)
    release(replace(job, before=before))
    assert (job.folder / "LICENSE").read_text(encoding="utf-8") == "use restrictions"


def _restate(before: dict[str, Path], name: str, subject: dict[str, str]) -> None:
    content = evidence.read(before[name] / "evidence.json")
    evidence.write(before[name], evidence.statement(subject, content["predicate"]))


def _relink(before: dict[str, Path], scratch: Path) -> None:
    """Link copies of all later stages to the new evidence of the base model."""
    evaluations = [name for name in before if "evaluate" in name]
    for name in ("data", "cap", "cat", "nf4", "gguf", "snippet", *evaluations):
        before[name] = Path(shutil.copytree(before[name], scratch / f"re-{name}"))
        content = evidence.read(before[name] / "evidence.json")
        links = content["predicate"]["previous"]
        for parent in links:
            links[parent] = evidence.sha256_file(before[parent] / "evidence.json")
        evidence.write(before[name], content)
