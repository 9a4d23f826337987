"""The pages about the mixture: its card, its Croissant metadata, the training-content summary."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from aurora_release.card import chain as chains
from aurora_release.card import croissant, training
from aurora_release.card.chain import Chain
from aurora_release.card.render import page


def with_hub_source(chain: Chain) -> Chain:
    first, *rest = chain.recipe.data.sources
    source = first.model_copy(update={"path": "hub:org/texts@v1"})
    data = chain.recipe.data.model_copy(update={"sources": (source, *rest)})
    return replace(chain, recipe=chain.recipe.model_copy(update={"data": data}))


def test_shares_of_languages_and_licences_add_up_to_what_was_read(released: Path) -> None:
    chain = chains.read(released)
    rows = training.blocks(chain)
    assert [(row["language"], row["license"]) for row in rows] == [
        ("en", "MPL-2.0"), ("fi", "MPL-2.0"), ("code", "MPL-2.0"), ("fi", "Apache-2.0"),
    ]  # fmt: skip
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert sum(row["read"] for row in rows) == 120 * chain.recipe.data.sequence_length


def test_reading_of_documents_of_several_licences_is_not_guessed(released: Path) -> None:
    chain = chains.read(released)
    data = chain.stages["data"]
    measured = json.loads(json.dumps(data.predicate.measured))
    measured["sources"]["help-en"]["licenses"] = {"MIT": 1000, "BSD-3-Clause": 456}
    predicate = data.predicate.model_copy(update={"measured": measured})
    stages = {**chain.stages, "data": replace(data, predicate=predicate)}
    rows = training.blocks(replace(chain, stages=stages))
    assert [(row["license"], row["tokens"], row["read"]) for row in rows[:2]] == [
        ("MIT", 1000, None), ("BSD-3-Clause", 456, None),
    ]  # fmt: skip
    assert {row["share"] for row in rows} == {None}


def test_hub_library_reads_the_card_of_the_mixture(released: Path) -> None:
    from huggingface_hub import DatasetCard

    data = DatasetCard((released / "mixture/README.md").read_text(encoding="utf-8")).data
    assert data.license == ["mpl-2.0", "apache-2.0"]
    assert data.language == ["en", "fi"]
    assert data.size_categories == ["n<1K"]
    assert data.task_categories == ["text-generation"]


def test_card_of_the_mixture_counts_what_was_removed(released: Path) -> None:
    card = (released / "mixture/README.md").read_text(encoding="utf-8")
    assert "| source | read | removed: too short | masked: email | held out | kept |" in card
    assert "| help-fi | 220 | 9 | 3 | 21 | 190 |" in card


def test_croissant_names_files_with_their_digests_and_hub_data_with_its_revision(
    released: Path,
) -> None:
    chain = with_hub_source(chains.read(released))
    clean = chain.stages["clean"]
    predicate = clean.predicate.model_copy(update={"inputs": {"help-fi": "ab" * 32}})
    known = replace(chain, stages={**chain.stages, "clean": replace(clean, predicate=predicate)})
    content: dict[str, Any] = json.loads(croissant.render(known, {}))
    files = {each["@id"]: each for each in content["distribution"]}
    assert files["help-en"]["contentUrl"] == "https://huggingface.co/datasets/org/texts/tree/v1"
    assert files["help-fi"]["sha256"] == "ab" * 32
    assert files["help-fi"]["contentUrl"] == "help-fi.jsonl"
    assert [each["@id"] for each in content["recordSet"]] == [
        "help-fi/documents", "python/documents",
    ]  # fmt: skip


def test_summary_of_training_content_has_the_headings_of_the_template(released: Path) -> None:
    text = (released / "TRAINING-CONTENT.md").read_text(encoding="utf-8")
    assert re.findall(r"^#+ (\d[\d.]*) ", text, flags=re.MULTILINE) == [
        "1.", "1.1.", "1.2.", "1.3.", "2.", "2.1.", "2.2.", "2.2.1.", "2.2.2.", "2.3.", "2.4.",
        "2.5.", "2.6.", "3.", "3.1.", "3.2.", "3.3.",
    ]  # fmt: skip
    assert "no legal advice" in text
    assert "less than 1 billion tokens (493,824 after cleaning)" in text
    assert "Of 48 pairs of a request and an answer, 48 were written by a model" in text
    hub = page("TRAINING-CONTENT.md", with_hub_source(chains.read(released)), {})
    assert "- [org/texts](https://huggingface.co/datasets/org/texts)" in hub


def test_every_page_without_evidence_says_so(released: Path) -> None:
    chain = chains.read(released)
    bare = Chain(chain.recipe, {})
    for name in ("mixture/README.md", "filter/README.md", "TRAINING-CONTENT.md"):
        text = page(name, bare, {})
        assert "not measured" in text and "None" not in text, name
    yaml.safe_load(page("mixture/README.md", bare, {}).split("---\n")[1])
