from pathlib import Path

import pytest

from aurora_release.card.report import lineage
from aurora_release.errors import AuroraError

LINKS = {
    "evaluate-cat": ["cat", "clean"],
    "cat": ["base", "data", "clean"],
    "data": ["base", "clean"],
    "base": [],
    "clean": [],
}


def test_a_link_that_a_longer_way_says_is_left_out() -> None:
    edges = lineage.edges(lineage.sorted_links(LINKS))
    assert set(edges) == {
        ("base", "data"), ("clean", "data"), ("data", "cat"), ("cat", "evaluate-cat"),
    }  # fmt: skip


def test_each_stage_stands_below_all_that_it_was_made_from() -> None:
    links = lineage.sorted_links(LINKS)
    where = lineage.places(links)
    assert all(where[one][1] < where[two][1] for two, before in links.items() for one in before)


def test_no_two_stages_stand_in_one_place_and_rows_are_short() -> None:
    many = {"base": [], **{f"v{number}": ["base"] for number in range(11)}}
    where = list(lineage.places(lineage.sorted_links(many)).values())
    assert len(set(where)) == 12
    assert max(abs(across) for across, _ in where) <= 1.5


def test_evidence_that_goes_round_is_an_error() -> None:
    with pytest.raises(AuroraError, match="made from themselves: .*one"):
        lineage.sorted_links({"one": ["two"], "two": ["one"]})


def test_the_picture_has_a_bar_for_the_release(tmp_path: Path) -> None:
    digests = dict.fromkeys(LINKS, "ab" * 32)
    for released in (True, False):
        path = tmp_path / "graph.svg"
        lineage.draw(LINKS, digests, {"cat": 0}, released, path)
        text = path.read_text(encoding="utf-8")
        assert ("release: all of the above" in text) == released
        assert text.count("abababab") == len(LINKS)
