"""The learning rate rises, falls, and knows nothing but the step."""

import math

import pytest
from pydantic import ValidationError

from aurora_release.recipe import TrainStage
from aurora_release.train.schedule import learning_rate, phase


def _stage(**changes: object) -> TrainStage:
    """A stage whose peak is 1, so that rates are shares of it."""
    how = {"warmup": 0.2, "final_learning_rate": 0.1, **changes}
    return TrainStage(name="cap", tokens=1, mixture={"a": 1.0}, learning_rate=1.0, **how)


def _rates(stage: TrainStage, steps: int) -> list[float]:
    return [learning_rate(stage, step, steps) for step in range(steps)]


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "infinite", "constant"])
def test_warm_up_is_a_line_to_the_peak(schedule: str) -> None:
    rates = _rates(_stage(schedule=schedule), 100)
    assert rates[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert max(rates) == 1.0


def test_cosine_passes_the_middle_and_ends_at_the_floor() -> None:
    rates = _rates(_stage(), 100)
    assert rates[59] == pytest.approx(0.55)  # half of 80 steps after the peak
    assert rates[99] == pytest.approx(0.1)
    assert rates[19:] == sorted(rates[19:], reverse=True)


def test_wsd_is_stable_and_then_decays_by_the_square_root() -> None:
    rates = _rates(_stage(schedule="wsd", decay=0.25), 100)
    assert set(rates[19:75]) == {1.0}
    assert rates[75] == pytest.approx(0.1 + 0.9 * (1 - math.sqrt(1 / 25)))
    assert rates[99] == pytest.approx(0.1)


def test_infinite_cools_to_a_constant_and_then_decays() -> None:
    stage = _stage(schedule="infinite", cooldown=0.3, constant_learning_rate=0.4, decay=0.2)
    rates = _rates(stage, 100)
    assert rates[34] == pytest.approx(0.7)  # half of the cosine from 1 to 0.4
    assert set(rates[50:80]) == {0.4}
    assert rates[49] == pytest.approx(0.4)
    assert rates[80] == pytest.approx(0.1 + 0.3 * (1 - math.sqrt(1 / 20)))
    assert rates[99] == pytest.approx(0.1)


def test_constant_stays() -> None:
    assert set(_rates(_stage(schedule="constant"), 100)[19:]) == {1.0}


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "infinite", "constant"])
def test_schedules_are_continuous_at_their_joints(schedule: str) -> None:
    steps = 100_000
    stage = _stage(schedule=schedule, cooldown=0.3, decay=0.2)
    names = [phase(stage, step, steps)[0] for step in range(0, steps, 1000)]
    for place, (before, after) in enumerate(zip(names, names[1:], strict=False)):
        if before != after:
            joint = (place + 1) * 1000
            left, right = (learning_rate(stage, step, steps) for step in (joint - 1, joint))
            assert abs(left - right) < 0.01  # the root is steep: 1/sqrt(20,000) of the fall


def test_schedule_drawn_for_more_steps_stops_before_its_floor() -> None:
    long = _stage(schedule="wsd", decay=0.2, schedule_steps=200)
    assert _rates(long, 100) == _rates(_stage(schedule="wsd", decay=0.2), 200)[:100]
    assert _rates(long, 100)[-1] == 1.0


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "infinite", "constant"])
def test_one_step_has_a_learning_rate(schedule: str) -> None:
    assert learning_rate(_stage(schedule=schedule), 0, 1) == 1.0


def test_shares_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"warmup \+ decay are 1.1"):
        _stage(schedule="wsd", decay=0.9)
