from typing import Any

from aurora_release.gates import check
from aurora_release.recipe import Gates


def measured(role: str, stage: str, **bits: float) -> dict[str, Any]:
    return {
        "model": {"role": role, "stage": stage},
        "bits_per_byte": {source: {"bits_per_byte": value} for source, value in bits.items()},
    }


BASE = measured("base", "base", en=1.0, fi=3.0)


def told(gates: Gates, *stages: dict[str, Any]) -> dict[str, str]:
    """Return the sentence of each rule; none of them may pass."""
    findings = check(gates, {str(number): stage for number, stage in enumerate(stages)})
    assert [found.passed for found in findings] == [False] * len(findings)
    return {found.rule: found.sentence for found in findings}


def test_a_rise_within_the_limit_passes_with_its_numbers() -> None:
    [found] = check(
        Gates(max_rise={"en": 0.05}), {"a": BASE, "b": measured("final", "cat", en=1.04, fi=2.0)}
    )
    assert found.passed
    assert found.rule == "max_rise.en"
    assert found.sentence == (
        "en: bits per byte went from 1.000 to 1.040 (+4.0%) against the base model, "
        "which keeps the limit of +5.0%."
    )


def test_a_rise_beyond_the_limit_fails() -> None:
    [found] = check(
        Gates(max_rise={"en": 0.05}), {"a": BASE, "b": measured("final", "cat", en=1.06, fi=2.0)}
    )
    assert not found.passed
    assert found.sentence.endswith(", which breaks the limit of +5.0%.")


def test_a_rise_as_large_as_the_limit_keeps_it() -> None:
    after = {"a": BASE, "b": measured("final", "cat", en=1.5, fi=3.0)}
    [found] = check(Gates(max_rise={"en": 0.5}), after)
    assert found.passed
    assert found.sentence.endswith(", which keeps the limit of +50.0%.")


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
    assert (nf4.rule, nf4.passed) == ("max_variant_rise.nf4", False)
    assert nf4.sentence == (
        "nf4, worst on fi: bits per byte went from 2.000 to 2.500 (+25.0%) against the trained "
        "model, which breaks the limit of +20.0%."
    )
    assert (gguf.rule, gguf.passed) == ("max_variant_rise.gguf", True)
    after["c"] = measured("variant", "nf4", en=1.125, fi=2.0)
    nf4, _ = check(Gates(max_variant_rise=0.125), after)
    assert nf4.passed
    assert nf4.sentence == (
        "nf4, worst on en: bits per byte went from 1.000 to 1.125 (+12.5%) against the trained "
        "model, which keeps the limit of +12.5%."
    )


def test_what_was_not_measured_does_not_pass() -> None:
    lacks = "was not measured before and after."
    gates = Gates(max_rise={"*": 0.1, "hi": 0.1}, max_variant_rise=0.1)
    assert told(gates) == {"max_rise.hi": f"hi: bits per byte {lacks}",
                           "max_rise.*": f"*: bits per byte {lacks}"}  # fmt: skip
    assert told(gates, BASE) == {
        f"max_rise.{source}": f"{source}: bits per byte {lacks}" for source in ("en", "fi", "hi")
    }
    final = measured("final", "cat", hi=1.0)
    assert told(gates, measured("base", "base", en=1.0), final) == {
        f"max_rise.{source}": f"{source}: bits per byte {lacks}" for source in ("en", "hi")
    }


def test_a_variant_is_not_judged_by_a_part_of_the_sources() -> None:
    gates, final = Gates(max_variant_rise=0.1), measured("final", "cat", en=1.0, fi=3.0, hi=1.0)
    lacks = "was not measured before and after."
    nf4 = measured("variant", "nf4", en=1.0, ja=1.0)
    assert told(gates, final, nf4) == {"max_variant_rise.nf4": f"nf4: fi, hi, ja {lacks}"}
    assert told(gates, nf4) == {"max_variant_rise.nf4": f"nf4: en, ja {lacks}"}
    nothing = measured("variant", "nf4")
    assert told(gates, nothing) == {"max_variant_rise.nf4": f"nf4: bits per byte {lacks}"}


def test_no_rules_no_findings() -> None:
    assert check(Gates(), {"a": BASE}) == []
