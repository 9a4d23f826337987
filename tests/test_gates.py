from typing import Any

from aurora_release.gates import check
from aurora_release.recipe import Gates


def measured(role: str, stage: str, **bits: float) -> dict[str, Any]:
    return {
        "model": {"role": role, "stage": stage},
        "bits_per_byte": {source: {"bits_per_byte": value} for source, value in bits.items()},
    }


BASE = measured("base", "base", en=1.0, fi=3.0)


def test_a_rise_within_the_limit_passes_with_its_numbers() -> None:
    [found] = check(
        Gates(max_rise={"en": 0.05}), {"a": BASE, "b": measured("final", "cat", en=1.04, fi=2.0)}
    )
    assert found.passed
    assert found.rule == "max_rise.en"
    assert "1.000 to 1.040 (+4.0%)" in found.sentence
    assert "+5.0%" in found.sentence


def test_a_rise_beyond_the_limit_fails() -> None:
    [found] = check(
        Gates(max_rise={"en": 0.05}), {"a": BASE, "b": measured("final", "cat", en=1.06, fi=2.0)}
    )
    assert not found.passed
    assert "breaks" in found.sentence


def test_a_negative_limit_demands_a_gain() -> None:
    after = {"a": BASE, "b": measured("final", "cat", en=1.0, fi=2.8)}
    [found] = check(Gates(max_rise={"fi": -0.1}), after)
    assert not found.passed


def test_the_star_stands_for_every_source_without_a_limit_of_its_own() -> None:
    after = {"a": BASE, "b": measured("final", "cat", en=1.2, fi=3.2)}
    found = {f.rule: f.passed for f in check(Gates(max_rise={"*": 0.1, "en": 0.3}), after)}
    assert found == {"max_rise.en": True, "max_rise.fi": True}


def test_only_the_last_trained_model_is_held_against_the_base() -> None:
    after = {
        "a": BASE,
        "b": measured("trained", "cap", en=9.0, fi=9.0),
        "c": measured("final", "cat", en=1.0, fi=3.0),
    }
    assert all(found.passed for found in check(Gates(max_rise={"*": 0.0}), after))


def test_a_variant_is_judged_by_the_source_it_lost_most_on() -> None:
    after = {
        "a": BASE,
        "b": measured("final", "cat", en=1.0, fi=2.0),
        "c": measured("variant", "nf4", en=1.01, fi=2.5),
        "d": measured("variant", "gguf", en=1.0, fi=2.0),
    }
    nf4, gguf = check(Gates(max_variant_rise=0.2), after)
    assert not nf4.passed
    assert "nf4, worst on fi" in nf4.sentence
    assert "(+25.0%)" in nf4.sentence
    assert gguf.passed


def test_what_was_not_measured_does_not_pass() -> None:
    gates = Gates(max_rise={"hi": 0.1}, max_variant_rise=0.1)
    after = {
        "a": BASE,
        "b": measured("final", "cat", en=1.0, fi=3.0),
        "c": measured("variant", "nf4", en=1.0),
    }
    hindi, nf4 = check(gates, after)
    assert not hindi.passed
    assert "hi" in hindi.sentence
    assert not nf4.passed
    assert "fi" in nf4.sentence
    assert [found.passed for found in check(Gates(max_rise={"*": 0.1}), {})] == [False]


def test_no_rules_no_findings() -> None:
    assert check(Gates(), {"a": BASE}) == []
