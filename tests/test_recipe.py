"""A recipe is strict, and says what is wrong with it."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from aurora_release import chain, recipe
from aurora_release.errors import AuroraError
from aurora_release.recipe.heading import Heading, headings
from aurora_release.shipped import shipped
from aurora_release.train.launch.launcher import require_divisible


def _written(folder: Path, **changes: object) -> str:
    content = yaml.safe_load(shipped("train/recipes/demo.yaml").read_text(encoding="utf-8"))
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "path", sorted(shipped("train/recipes").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    found, beside = recipe.load(path.stem)
    assert found.name == path.stem
    assert beside == path.parent


@pytest.mark.parametrize("heading", headings(), ids=lambda heading: heading.name)
def test_every_shipped_recipe_opens_with_hardware_cost_and_launch_line(heading: Heading) -> None:
    assert re.search(r"CPU|GPU|H100", heading.cost)
    assert re.search(r"minutes|hours?|day", heading.cost)
    assert re.search(r"no cost|[kM]Wh", heading.cost)
    program, verb, name, *options = shlex.split(heading.launch)
    assert (program, name) == ("aurora", heading.name)
    assert verb in ("run", "train")
    if "--ranks" in options:
        found, _ = recipe.load(name)
        require_divisible(found.train, int(options[options.index("--ranks") + 1]))
    assert heading.what.endswith((".", ")"))


@pytest.mark.parametrize("name", [heading.name for heading in headings()])
def test_every_shipped_recipe_can_be_planned_without_network(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain.run(name, runs=tmp_path / "runs", dry_run=True)
    said = capsys.readouterr().out
    assert "release            after base" in said
    assert re.search(r"(llama|gpt_bigcode) of [\d.]+[MB] parameters \(shipped:", said)
    assert list(tmp_path.iterdir()) == []


def test_unknown_key_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="sede: there is no such key; did you mean seed?"):
        recipe.load(_written(tmp_path, sede=1))


def test_wrong_type_is_named_with_its_value(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match=r"seed: .*integer \(it is 'seven'\)"):
        recipe.load(_written(tmp_path, seed="seven"))


def test_negative_token_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match=r"train.stages.0.tokens: .*greater than 0 \(it is -5\)"):
        recipe.load(_written(tmp_path), ("train.stages.0.tokens=-5",))


def test_mixture_of_an_unknown_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="'help-sv' is not a source"):
        recipe.load(_written(tmp_path), ("train.stages.0.mixture.help-sv=0.5",))


def test_twins_are_tuned_on_without_the_topics_that_evaluation_asks(tmp_path: Path) -> None:
    tune = "tune={twins: ['shipped:train/safety/en.jsonl'], heldout: 0.05}"
    with pytest.raises(AuroraError, match="0.05 would train on topics that evaluation asks"):
        recipe.load(_written(tmp_path), (tune,))
    found, _ = recipe.load(_written(tmp_path), (tune.replace("0.05", "0.1"),))
    assert found.tune and found.tune.path is None
    for wrong in ("tune={heldout: 0.1}", "tune={path: a.jsonl, twins: [b.jsonl]}"):
        with pytest.raises(AuroraError, match="one of the two"):
            recipe.load(_written(tmp_path), (wrong,))


@pytest.mark.parametrize(
    ("name", "said"),
    [("safety-sft", "evaluate-sft"), ("safety-dpo", "dpo: direct preference optimisation on")],
)
def test_safety_recipes_can_be_planned(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain.run(name, runs=tmp_path / "runs", dry_run=True)
    assert said in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_override_reaches_into_lists() -> None:
    found, _ = recipe.load("demo", ("train.stages.1.learning_rate=0.001", "seed=7"))
    assert found.train.stages[1].learning_rate == 0.001
    assert found.seed == 7


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "write key=value"),
        ("train.stages.9.tokens=1", "'9' is no place in a list of 2"),
        ("seed.deep=1", "'seed' holds a value"),
    ],
)
def test_bad_override_says_why(override: str, message: str) -> None:
    with pytest.raises(AuroraError, match=message):
        recipe.load("demo", (override,))


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(AuroraError, match="Did you mean demo?"):
        recipe.load("dmeo")


def test_yaml_that_does_not_parse_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: [", encoding="utf-8")
    with pytest.raises(AuroraError, match=r"broken\.yaml is not valid YAML"):
        recipe.load(str(path))


def test_batch_that_does_not_divide_names_both_keys() -> None:
    with pytest.raises(AuroraError, match=r"train: global_batch, 3, is not a multiple"):
        recipe.load("demo", ("train.global_batch=3", "train.micro_batch=2"))


def test_steps_cover_the_token_budget() -> None:
    found, _ = recipe.load("demo", ("train.stages.0.tokens=1025", "train.global_batch=2"))
    assert found.steps(found.train.stages[0]) == 2


def test_weights_without_a_token_budget_are_refused() -> None:
    with pytest.raises(AuroraError, match=r"stages.cap: .*that of help-en, 0.09, is less than one"):
        recipe.load("demo", ("train.stages.0.tokens=null",))


def test_numbers_that_are_none_and_numbers_without_end_are_refused(tmp_path: Path) -> None:
    for override, said in (
        ("gates.max_rise.*=.nan", "finite number"),
        (f"train.stages.0.tokens={10**40}", "less than"),
        ("train.stages.\u00b2.tokens=1", "is no place in a list"),
        ("seed=!!bool x", "is not valid YAML after `=`"),
    ):
        with pytest.raises(AuroraError, match=said):
            recipe.load(_written(tmp_path), (override,))


def test_a_long_list_of_mistakes_is_cut(tmp_path: Path) -> None:
    many = {f"{n}{'x' * 1000}": n for n in range(500)}
    with pytest.raises(AuroraError, match="and 480 more") as refused:
        recipe.load(_written(tmp_path, **many))
    assert len(str(refused.value)) < 10_000


def test_a_recipe_for_others_names_no_folder_of_this_machine() -> None:
    said = {
        "home": "~/texts/fi", "root": ["/data/fi.jsonl", "/data/hi/"], "above": "../texts/ja",
        "beside": "texts/vi", "hub": "hub:org/name@abc", "shipped": "shipped:train/en.jsonl",
        "number": 3, "title": "and/or",
    }  # fmt: skip
    assert recipe.portable(said) == said | {
        "home": "fi", "root": ["fi.jsonl", "hi"], "above": "ja",
    }  # fmt: skip
