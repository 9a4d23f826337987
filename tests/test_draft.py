"""`aurora init` writes a recipe that `aurora run` accepts, whole or not at all."""

from pathlib import Path

import pytest

from aurora_release import recipe
from aurora_release.chain import run
from aurora_release.draft import known_base
from tests.command import aurora


def test_defaults_make_a_commented_recipe_that_can_be_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = aurora("init", "--yes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "aurora run recipe.yaml --dry-run" in done.stdout
    text = (tmp_path / "recipe.yaml").read_text("utf-8")
    assert text.startswith("# This machine")
    assert text.count("#") > 15
    monkeypatch.chdir(tmp_path)
    run("recipe.yaml", dry_run=True)
    said = capsys.readouterr().out
    assert "evaluate-gguf" in said
    assert "llama of 135M parameters" in said
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]


def test_options_are_answers(tmp_path: Path, tiny_llama: Path) -> None:
    (tmp_path / "norsk").mkdir()
    done = aurora(
        "init", "mine/my model.yaml", "--base", str(tiny_llama), "--license", "MIT",
        "--language", "no", "--language", "hi", "--text", "no=norsk", "--text-license", "CC0-1.0",
        "--hardware", "h100:8", "--quantize", "gptq", "--yes", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "aurora run 'mine/my model.yaml' --dry-run" in done.stdout
    found, beside = recipe.load(str(tmp_path / "mine/my model.yaml"))
    assert (found.name, found.model.base, found.model.license) == (
        "my-model", str(tiny_llama), "MIT",
    )  # fmt: skip
    sources = {source.name: source for source in found.data.sources}
    # `no` is false to YAML: it must come back as Norwegian
    assert (sources["no"].language, sources["no"].license) == ("no", "CC0-1.0")
    assert (beside / sources["no"].path).resolve() == tmp_path / "norsk"
    assert {"en", "code", "hi", "safety-en", "safety-hi"} < set(sources)
    assert "LibreOffice" in str(sources["en"].origin) and sources["no"].origin is None
    assert found.train.hardware == ("h100:8",)
    assert found.train.global_batch % 8 == 0
    assert [variant.method for variant in found.quantize] == ["gptq"]


def test_each_text_has_its_own_licence(tmp_path: Path) -> None:
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
    options = ("init", "--text", "fi=mine", "--text", "hi=theirs", "--yes")
    done = aurora(*options, "--text-license", "MIT", "--text-license", "hi=CC-BY-4.0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found, _ = recipe.load(str(tmp_path / "recipe.yaml"))
    licences = {source.name: source.license for source in found.data.sources}
    assert (licences["fi"], licences["hi"], licences["en"]) == ("MIT", "CC-BY-4.0", "MPL-2.0")
    done = aurora(*options, "--text-license", "ja=MIT", "--force", cwd=tmp_path)
    assert (done.returncode, "no --text lies in ja" in done.stderr) == (2, True)


def test_code_can_be_taught_and_is_then_not_replayed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = aurora("init", "--text", "fi=mine", "--text", "code=mine", "--yes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No licence is named for your text in fi, your text in code." in done.stdout
    found, _ = recipe.load(str(tmp_path / "recipe.yaml"))
    assert [stage.replay for stage in found.train.stages] == [("en",), ("en",)]
    assert found.train.stages[0].mixture == {"en": 0.3, "fi": 0.35, "code": 0.35}
    assert [source.path for source in found.data.sources[1:3]] == ["mine", "mine"]


def test_a_base_without_a_licence_is_told_of_at_once(tmp_path: Path, tiny_llama: Path) -> None:
    options = ("--base", str(tiny_llama), "--yes", "--force")
    done = aurora("init", *options, cwd=tmp_path)
    assert "No licence is named for the base model. Name it in recipe.yaml" in done.stdout
    done = aurora("init", *options, "--license", "MIT", cwd=tmp_path)
    assert "Name the licence" not in done.stdout


def test_questions_are_asked_again_until_the_answer_is_one(tmp_path: Path) -> None:
    answers = ["", "sv", "nowhere", "here.txt", "CC0-1.0", "h1000:8", "cpu", "nf5", "none"]
    (tmp_path / "here.txt").write_text("Hej.", "utf-8")
    done = aurora("init", cwd=tmp_path, typed="\n".join(answers) + "\n")
    assert done.returncode == 0, done.stderr
    assert "nowhere is missing" in done.stderr
    assert "Did you mean h100?" in done.stderr
    assert "Did you mean nf4?" in done.stderr
    found, _ = recipe.load(str(tmp_path / "recipe.yaml"))
    assert (found.data.sources[2].path, found.data.sources[2].license) == ("here.txt", "CC0-1.0")
    assert found.quantize == ()


def test_a_file_is_not_replaced_without_force(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("mine", "utf-8")
    done = aurora("init", "--yes", cwd=tmp_path)
    assert (done.returncode, path.read_text("utf-8")) == (2, "mine")
    assert "say --force" in done.stderr
    assert aurora("init", "--yes", "--force", cwd=tmp_path).returncode == 0
    assert recipe.load(str(path))[0].name == "recipe"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--base", "./nothing"), "./nothing is no model folder"),
        (("--language", "Suomi!"), "'suomi!' is no language"),
        (("--language", "sv"), "say it with --text LANGUAGE=PATH"),
        (("--language", "fi", "--text", "sv=."), "sv is not taught; say --language sv too"),
        (("--language", "sv", "--text", "sv"), "write LANGUAGE=PATH"),
        (("--language", "sv", "--text", "sv=nowhere"), "nowhere is missing"),
        (("--language", "sv", "--text", "sv=hub:org/set@main"), "does not pin a Hub dataset"),
        (("--hardware", "h1000:8"), "Did you mean h100?"),
        (("--quantize", "gtpq"), "Did you mean gptq?"),
    ],
)
def test_an_answer_that_cannot_be_leaves_nothing(
    options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = aurora("init", *options, "--yes", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_no_answer_at_all_is_a_stop(tmp_path: Path) -> None:
    done = aurora("init", cwd=tmp_path, typed="")
    assert done.returncode == 130
    assert "stopped at a question" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_shipped_recipes_know_of_a_base_is_taken_over() -> None:
    found = known_base("meta-llama/Llama-3.1-8B")
    assert found
    assert found.license == "llama3.1"
    assert "@" in found.base
    assert known_base("nobody/nothing") is None
