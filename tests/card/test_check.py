import json
import os
import shutil
import time
from pathlib import Path

import pytest

from aurora_release import evidence
from aurora_release.card import chain as chains
from aurora_release.card.check import check
from aurora_release.card.render import documents
from aurora_release.errors import AuroraError


def edit(released: Path, old: str, new: str, page: str = "README.md") -> None:
    path = released / page
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_card_of_a_release_is_right(released: Path) -> None:
    assert check(released) == []


def test_hand_edited_number_is_named_beside_the_measured_one(released: Path) -> None:
    edit(released, "| tokens | 40,960 |", "| tokens | 50,960 |")
    (sentence,) = check(released)
    assert "it says '50,960' where the evidence says '40,960'." in sentence


@pytest.mark.parametrize(
    ("page", "old", "new"),
    [
        ("README.md", "      value: 0.333333333", "      value: 0.033333333"),  # metadata
        ("README.md", "oli 61 440 tokenia", "oli 61 440 000 tokenia"),  # another language
        ("README.md", "5 of 6 (44–97 %)", "1 of 6 (44–97 %)"),
        (
            "README.md",
            "A sauna is ``hot``.",
            "A sauna is a steam bath.",
        ),  # what the snippet printed
        ("README.md", "not measured", "0.1 kWh"),
        ("mixture/README.md", "| 220 | 9 |", "| 220 | 0 |"),
        ("filter/README.md", "| 0.57 |", "| 0.97 |"),
        ("TRAINING-CONTENT.md", "493,824", "493,825"),
        ("mixture/croissant.json", "Apache-2.0", "MIT"),
        ("bom.json", "MPL-2.0", "MIT"),
    ],
)
def test_edit_of_any_page_is_named_with_its_line(
    released: Path, page: str, old: str, new: str
) -> None:
    edit(released, old, new, page)
    (sentence,) = check(released)
    assert sentence.startswith(f"{page}, line ") and "where the evidence says" in sentence


def test_missing_page_and_pictures_of_other_numbers_are_named(released: Path) -> None:
    (released / "filter/README.md").unlink()
    shutil.copyfile(released / "images/loss.png", released / "images/bits.png")
    (released / "images/safety.png").unlink()
    (released / "images/more.png").write_bytes(b"")
    assert check(released) == [
        "filter/README.md is missing.",
        "images/bits.png is not the picture that was drawn from the evidence.",
        "images/more.png belongs to no release.",
        "images/safety.png is missing.",
    ]


def test_interval_that_does_not_follow_from_the_evidence_is_named(released: Path) -> None:
    content = evidence.read(released / "evidence.json")
    measured = content["predicate"]["measured"]
    measured["intervals"]["base"]["cat"]["help-fi"] = [-0.9, -0.8]
    evidence.write(released, content)
    for name, text in documents(chains.read(released), measured).items():
        (released / name).write_text(text, encoding="utf-8")
    assert check(released) == [
        "evidence.json: its intervals do not follow from the evidence of the stages."
    ]


def test_added_number_and_emptied_section_are_named(released: Path) -> None:
    edit(
        released, "## Limitations\n", "## Results\n\n## Limitations\n\nBeats everything by 20 %.\n"
    )
    found = " ".join(check(released))
    assert "the section 'Results' is empty" in found
    assert "does not say what the evidence says, from line" in found


def test_evidence_older_than_its_run_is_named(released: Path, small_run: Path) -> None:
    shutil.copytree(small_run / "cat", released.parent / "cat")
    assert check(released) == []
    content = evidence.read(released.parent / "cat" / "evidence.json")
    content["predicate"]["measured"]["last_loss"] = 1.5
    evidence.write(released.parent / "cat", content)
    (sentence,) = check(released)
    assert sentence.startswith("evidence/cat.json is old: cat was done again")


def test_deleted_evidence_is_named(released: Path) -> None:
    (released / "evidence/evaluate-cat.json").unlink()
    assert "evidence/evaluate-cat.json is missing" in " ".join(check(released))
    (released / "evidence.json").unlink()
    with pytest.raises(AuroraError, match=r"evidence\.json is missing"):
        check(released)


def test_an_in_toto_library_reads_every_statement(released: Path) -> None:
    from google.protobuf import json_format
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    files = [released / "evidence.json", *(released / "evidence").glob("*.json")]
    assert len(files) == 14
    for path in files:
        content = json.loads(path.read_bytes())
        message = json_format.ParseDict(content, Message())
        Statement.copy_from_pb(message).validate()
        assert {one.name: one.digest["sha256"] for one in message.subject} == evidence.subject(
            content
        )


def test_picture_that_is_a_pipe_is_not_waited_for(released: Path) -> None:
    (released / "images/bits.png").unlink()
    os.mkfifo(released / "images/bits.png")
    assert check(released) == [
        "images/bits.png is not the picture that was drawn from the evidence."
    ]


def test_page_of_open_blocks_is_read_in_the_time_of_its_length(released: Path) -> None:
    (released / "README.md").write_text("```x\n" * 200_000, encoding="utf-8")
    started = time.process_time()
    assert "README.md does not say what the evidence says, from line 1 on." in check(released)
    assert time.process_time() - started < 20


def test_page_without_end_is_said_and_not_read(released: Path) -> None:
    with (released / "README.md").open("ab") as file:
        file.truncate(2**40)
    (sentence,) = check(released)
    assert "README.md is not what the evidence says: it is larger than 64 MiB" in sentence


def test_values_of_another_kind_are_an_error_of_the_evidence(released: Path) -> None:
    path = released / "evidence/snippet.json"
    content = evidence.read(path)
    content["predicate"]["measured"]["printed"] = 10**30
    path.write_bytes(evidence.canonical(content))
    top = evidence.read(released / "evidence.json")
    top["predicate"]["previous"]["snippet"] = evidence.sha256_file(path)
    evidence.write(released, top)
    with pytest.raises(AuroraError, match="measures nothing readable"):
        check(released)


def test_pages_of_another_recipe_are_named(released: Path) -> None:
    path = released / "recipe.json"
    path.write_bytes(path.read_bytes().replace(b'"license":"Apache-2.0"', b'"license":"MIT"'))
    measured = chains.statement(released / "evidence.json").predicate.measured
    for name, text in documents(chains.read(released), measured).items():
        (released / name).write_text(text, encoding="utf-8")
    assert check(released) == ["recipe.json is not the recipe in evidence.json."]
