import random

import pytest

from aurora_release.evaluate.compare import change, paired_change, wilson


def test_change_is_relative() -> None:
    assert change(2.0, 1.5) == -0.25


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (5, 10, 0.23659, 0.76341), (0, 0, 0.0, 1.0)],
)
def test_wilson_is_the_published_interval(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-5)


def test_identical_models_did_not_change() -> None:
    documents = [(random.Random(i).uniform(1, 900), 100 + i) for i in range(30)]
    assert paired_change(documents, documents, seed=3) == (0.0, 0.0, 0.0)


def test_an_even_gain_has_a_narrow_interval() -> None:
    before = [(100.0 * (i + 1), 50) for i in range(20)]
    after = [(bits * 0.9, size) for bits, size in before]
    found, low, high = paired_change(before, after, seed=3)
    assert found == pytest.approx(-0.1)
    assert low == pytest.approx(high)


def test_the_interval_holds_the_change_and_repeats_with_its_seed() -> None:
    chance = random.Random(1)
    before = [(chance.uniform(100, 200), 50) for _ in range(40)]
    after = [(bits * chance.uniform(0.8, 1.1), size) for bits, size in before]
    found, low, high = paired_change(before, after, seed=3)
    assert low < found < high
    assert paired_change(before, after, seed=3) == (found, low, high)
