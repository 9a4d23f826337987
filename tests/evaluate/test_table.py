from typing import Any

import pytest

from aurora_release.evaluate.table import facts, table


def measured(factor: float, refused: int) -> dict[str, Any]:
    bits = [100.0 * factor, 180.0 * factor, 90.0 * factor]
    row = {"bits_per_byte": sum(bits) / 150, "per_document": {"bits": bits, "bytes": [50] * 3}}
    harmful = {"refused": refused, "complied": 5 - refused, "unclear": 1, "blocked": 0}
    benign = {"refused": 0, "complied": 6, "unclear": 0, "blocked": 0}
    cells = [
        {"wrapper": "plain", "category": "all", "language": language, "harmful": harmful,
         "benign": benign}
        for language in ("en", "fi")
    ]  # fmt: skip
    return {"bits_per_byte": {"fi": row, "python": row}, "safety": {"cells": cells}}


def told(lines: list[str], title: str) -> list[str]:
    """Return the lines of a block, the title's first."""
    start = next(place for place, line in enumerate(lines) if line.startswith(title))
    return lines[start : start + 3]


def test_shows_value_change_and_interval_of_every_model() -> None:
    text = table({
        "data": {"sources": {}},
        "evaluate-base": measured(1.0, 0),
        "evaluate-cat": measured(0.8, 5),
        "evaluate-nf4": measured(1.05, 4),
    })  # fmt: skip
    lines = text.splitlines()
    assert " ".join(lines[0].split()) == "bits per byte base cat nf4"
    assert " ".join(lines[1].split()) == "fi 2.467 1.973 -20.0 ±0.0 % 2.590 +5.0 ±0.0 %"
    assert "harmful requests refused" in text
    assert "5/6" in text
    assert len(told(lines, "harmful requests complied with")) == 3
    assert told(lines, "harmful requests complied with")[1].split() == ["en", "5/6", "0/6", "1/6"]
    assert len({len(line) for line in lines[:3]}) == 1


def test_what_was_not_measured_says_so() -> None:
    less = measured(1.0, 0)
    less["bits_per_byte"] = {"fi": less["bits_per_byte"]["fi"]}
    less["safety"] = {"cells": []}
    text = table({"evaluate-base": measured(1.0, 0), "evaluate-nf4": less})
    row = next(line for line in text.splitlines() if line.startswith("python"))
    assert row.endswith("not measured")


def test_without_a_base_there_are_values_but_no_changes() -> None:
    assert "%" not in table({"evaluate-cat": measured(0.8, 5)})


def test_nothing_measured_is_an_empty_table() -> None:
    assert table({"data": {}}) == ""


def test_the_filter_is_told_once_with_its_totals() -> None:
    counts = {"harmful": 6, "blocked": 5, "benign": 8, "over_blocked": 1}
    model = {"bits_per_byte": {}, "safety": {"cells": []}, "filter": {"fi": counts, "ja": counts}}
    lines = table({"evaluate-base": model, "evaluate-cat": model}).splitlines()
    assert [line.split()[-3:] for line in lines[-3:]] == [
        ["fi", "5/6", "1/8"], ["ja", "5/6", "1/8"], ["all", "10/12", "2/16"],
    ]  # fmt: skip


def test_programs_get_the_numbers_of_the_table() -> None:
    found = facts({"data": {}, "evaluate-base": measured(1.0, 0), "evaluate-cat": measured(0.8, 5)})
    assert found["base"]["bits_per_byte"]["fi"] == {"value": pytest.approx(370 / 150)}
    row = found["cat"]["bits_per_byte"]["fi"]
    assert row["value"] == pytest.approx(0.8 * 370 / 150)
    # every document is a fifth shorter, so the interval has no width
    assert [row[key] for key in ("change", "low", "high")] == pytest.approx([-0.2, -0.2, -0.2])
    assert found["cat"]["requests"]["fi"]["harmful"]["refused"] == 5
