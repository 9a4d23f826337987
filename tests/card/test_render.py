import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from aurora_release import evidence
from aurora_release.card import chain as chains
from aurora_release.card.chain import Chain
from aurora_release.card.render import FILE, empty_sections, page
from aurora_release.errors import AuroraError
from aurora_release.recipe import Preference


def read(released: Path) -> tuple[str, Chain]:
    return (released / "README.md").read_text(encoding="utf-8"), chains.read(released)


def without_measurements(chain: Chain) -> Chain:
    return replace(
        chain,
        stages={
            name: replace(
                stage,
                predicate=stage.predicate.model_copy(update={"measured": {}, "environment": {}}),
            )
            for name, stage in chain.stages.items()
        },
    )


def test_card_says_what_was_measured(released: Path) -> None:
    card, chain = read(released)
    bits = chain.measured()["evaluate-cat"]["bits_per_byte"]["help-fi"]["bits_per_byte"]
    base = chain.measured()["evaluate-base"]["bits_per_byte"]["help-fi"]["bits_per_byte"]
    change = f"{100 * (bits / base - 1):+.1f} %".replace("-", "−")
    row = next(
        line for line in card.splitlines() if line.startswith("| help-fi |") and "<br>" in line
    )
    assert re.search(rf"\| {bits:.3f}<br>{change} \[−\d+\.\d, −\d+\.\d\] \|", row)
    assert "| tokens | 40,960 | 20,480 |" in card
    assert "| help-fi | fi | MPL-2.0 | 190 | 21 | 123,456 | 40 | 20 | 2.00 |" in card
    assert "48 machine-written, 0 reviewed by a person, 48 awaiting human review" in card
    assert "| all | 2 of 12 | 8 of 12 | 8 of 12 | 8 of 12 |" in card  # refused
    assert "| en | 5 of 6 (44–97 %) | 2 of 6 (10–70 %) |" in card  # complied
    assert "Not complete: safety-fi: 24 of 30 asked (6 too long)." in card
    agreement = "share of these before the variant first writes another"
    assert f"| {agreement} | 0.91 | not measured |" in card
    assert "| chat template of both, its digest | `efefefefefef` | not measured |" in card
    for stage in chain.stages.values():
        assert f"`{stage.sha256[:12]}`" in card


def test_blank_lines_stand_around_headings_and_pictures(released: Path) -> None:
    card, _ = read(released)
    body = re.sub(r"^```.*?^```$", "", card, flags=re.MULTILINE | re.DOTALL)
    lines = body[body.index("<!--") :].splitlines()
    for before, line, after in zip(lines[1:], lines[2:], lines[3:], strict=False):
        if line.startswith(("#", "!")):
            assert (before, after) == ("", ""), line
    assert "\n\n\n" not in card


def test_card_without_measurements_says_so_and_has_no_empty_section(released: Path) -> None:
    _, chain = read(released)
    card = page(FILE, without_measurements(chain), {})
    assert "| tokens | not measured | not measured |" in card
    assert "Bits per byte: not measured." in card
    assert "Conversion certificates: not measured." in card
    assert "Attack success and over-refusal: not measured." in card
    assert "Who wrote the safety pairs and who reviewed them: not measured." in card
    assert "None" not in card and "images/" not in card
    assert empty_sections(card) == []


def test_numbers_of_a_card_without_evidence_come_from_the_recipe_alone(released: Path) -> None:
    _, chain = read(released)
    card = page(FILE, without_measurements(chain), {})
    body = card[card.index("## Training") : card.index("## Provenance")]
    tables = [line for line in body.splitlines() if line.startswith("|")]
    numbers = set(re.findall(r"(?<![\w.-])\d[\d,.]*(?![\w.])", " ".join(tables)))
    assert numbers <= {"0.0004", "0.0003", "0.1"}


def test_metadata_is_what_the_hub_expects(released: Path) -> None:
    card, _ = read(released)
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert metadata.pop("model-index")[0]["name"] == "Small"
    assert metadata == {
        "license": "apache-2.0",
        "language": ["en", "fi"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["aurora-release", "continual-pretraining", "code"],
    }


def test_hub_library_reads_back_the_numbers_that_were_measured(released: Path) -> None:
    from huggingface_hub import ModelCard

    card, chain = read(released)
    data = ModelCard(card).data
    assert data.license == "apache-2.0"
    assert data.language == ["en", "fi"]
    assert data.eval_results
    found = {(one.dataset_name, one.metric_type): one.metric_value for one in data.eval_results}
    bits = chain.measured()["evaluate-cat"]["bits_per_byte"]
    assert found == {
        **{(name, "bits_per_byte"): row["bits_per_byte"] for name, row in bits.items()},
        ("safety pairs", "attack_success"): 0.333333333,
        ("safety pairs", "over_refusal"): 0.666666667,
    }


@pytest.mark.parametrize(
    ("license", "metadata"),
    [
        ("MIT", {"license": "mit"}),
        ("bigcode-openrail-m", {"license": "bigcode-openrail-m"}),
        ("other", {"license": "other", "license_name": "see-notice", "license_link": "NOTICE"}),
        ("My own", {"license": "other", "license_name": "my-own", "license_link": "NOTICE"}),
    ],
)
def test_licence_is_spelled_as_the_hub_spells_it(
    released: Path, license: str, metadata: dict[str, str]
) -> None:
    _, chain = read(released)
    model = chain.recipe.model.model_copy(update={"license": license})
    changed = replace(chain, recipe=chain.recipe.model_copy(update={"model": model}))
    found = yaml.safe_load(page(FILE, changed, {}).split("---\n")[1])
    assert {key: value for key, value in found.items() if "license" in key} == metadata


def test_data_sets_of_the_hub_are_named_in_the_metadata(released: Path) -> None:
    _, chain = read(released)
    first, *rest = chain.recipe.data.sources
    source = first.model_copy(update={"path": "hub:org/texts@v1"})
    data = chain.recipe.data.model_copy(update={"sources": (source, *rest)})
    changed = replace(chain, recipe=chain.recipe.model_copy(update={"data": data}))
    assert "\ndatasets:\n- org/texts\n" in page(FILE, changed, {})


def test_summary_is_in_the_languages_that_were_trained(released: Path) -> None:
    card, _ = read(released)
    assert "**Suomeksi.** Small on kielimalli" in card
    assert "日本語" not in card


def test_base_model_from_the_hub_is_named_in_the_metadata(released: Path) -> None:
    _, chain = read(released)
    base = chain.stages["base"]
    predicate = base.predicate.model_copy(update={"measured": {"origin": "hub"}})
    model = chain.recipe.model.model_copy(update={"base": "org/name@v1"})
    known = replace(
        chain,
        recipe=chain.recipe.model_copy(update={"model": model}),
        stages={**chain.stages, "base": replace(base, predicate=predicate)},
    )
    assert "\nbase_model: org/name\nbase_model_relation: finetune\n" in page(FILE, known, {})


def test_model_of_random_weights_is_not_called_trained_further(released: Path) -> None:
    _, chain = read(released)
    base = chain.stages["base"]
    drawn = {**base.predicate.measured, "origin": "random", "source": "random"}
    predicate = base.predicate.model_copy(update={"measured": drawn})
    stages = {**chain.stages, "base": replace(base, predicate=predicate)}
    card = page(FILE, replace(chain, stages=stages), {})
    assert "A model of random weights, trained on" in card
    assert "| base model | none: weights drawn at random |" in card
    assert "on kielimalli, jonka painot arvottiin" in card
    assert "rained further" not in card
    assert "jatkokoulutettu" not in card


def test_empty_sections_are_found() -> None:
    text = "# A\n\n## B\n\n## C\ntext\n### D\n\n```\n# no heading\n```\n## E\n"
    assert empty_sections(text) == ["B", "E"]


def test_energy_is_measured_or_said_not_to_be_and_estimates_are_called_so(released: Path) -> None:
    card, chain = read(released)
    assert "| energy, processors (RAPL) | 2 kWh | 2 kWh |" in card
    assert "| energy, accelerators (NVML) | not measured | not measured |" in card
    assert "estimate" not in card
    cat = chain.stages["cat"]
    measured = {**cat.predicate.measured, "board_watts": 700}
    predicate = cat.predicate.model_copy(update={"measured": measured})
    known = replace(chain, stages={**chain.stages, "cat": replace(cat, predicate=predicate)})
    row = "| *estimate*, accelerators at full board power | none | 0.018 kWh at 700 W |"
    assert row in page(FILE, known, {})  # 90 s on one device


def test_right_answers_are_compared_with_the_base_model(released: Path) -> None:
    from huggingface_hub import ModelCard

    _, chain = read(released)
    compared = {"what": "fox", "language": "fi", "measure": "accuracy", "before": 0.25,
                "after": 0.5, "change": 0.25, "low": 0.1, "high": 0.4, "items": 40}  # fmt: skip
    card = page(FILE, chain, {"tasks": {"cat": [compared]}})
    assert "| fox | accuracy | 40 | 25.0 | 50.0<br>+25.0 [+10.0, +40.0] |" in card
    assert "translation: not measured" in card
    found = ModelCard(card).data.eval_results or []
    assert ("fox", "accuracy", 0.5) in {
        (one.dataset_name, one.metric_type, one.metric_value) for one in found
    }


def test_preference_tuning_is_told_from_its_evidence(released: Path) -> None:
    card, chain = read(released)
    assert "direct preference optimisation" not in card
    tune = Preference(twins=("fi.jsonl",), min_reviews=0)
    cat = chain.stages["cat"]
    measured = {
        "pairs": {"read": 60, "unreviewed": 0, "rejected": 0, "trained": 54, "heldout": 6},
        "steps": 14, "first_loss": 0.693, "last_loss": 0.512, "precision": "fp32",
        "heldout": {"reward_accuracy": 0.75, "reward_margin": 0.21},
    }  # fmt: skip
    known = replace(
        chain,
        recipe=chain.recipe.model_copy(update={"tune": tune}),
        stages={
            **chain.stages,
            "dpo": replace(cat, predicate=cat.predicate.model_copy(update={"measured": measured})),
        },
    )
    told = page(FILE, known, {})
    assert "tuned on preferences (dpo)" in told
    assert "| trained on | 54 |" in told
    assert "| loss of the first and the last step | 0.693, 0.512 |" in told
    assert "| on held-out pairs, preferred answer gained more | 75 % |" in told
    untold = page(FILE, replace(known, stages=chain.stages), {})
    assert "| trained on | not measured |" in untold


def test_what_a_data_set_calls_its_licence_opens_no_tag(released: Path) -> None:
    path = released / "evidence/data.json"
    content = evidence.read(path)
    rows = content["predicate"]["measured"]["sources"]
    rows["help-en"] = {**rows["help-en"], "licenses": {"MIT <!-- <img src=x> \x1b[2J\u202e": 5}}
    path.write_bytes(evidence.canonical(content))
    measured = chains.statement(released / "evidence.json").predicate.measured
    said = page(FILE, chains.read(released), measured)
    assert "MIT &lt;!-- &lt;img src=x> \\x1b[2J\\u202e" in said and "\x1b" not in said


@pytest.mark.parametrize("title", ["Small\n\n## Evaluation\n\nall: 0.001", "Small <!--", ""])
def test_title_of_a_model_is_one_line_without_tags(released: Path, title: str) -> None:
    recipe = json.loads((released / "recipe.json").read_bytes())
    (released / "recipe.json").write_text(json.dumps({**recipe, "title": title}), encoding="utf-8")
    with pytest.raises(AuroraError, match="String should match pattern"):
        chains.read(released)
