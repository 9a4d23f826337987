"""The learning rate rises, falls, and knows nothing but the step."""

from aurora_release.recipe import TrainStage
from aurora_release.train.schedule import learning_rate

STAGE = TrainStage(
    name="cap",
    tokens=1,
    mixture={"a": 1.0},
    learning_rate=1e-3,
    warmup=0.2,
    final_learning_rate=0.1,
)


def test_rises_to_the_peak_and_ends_at_the_floor() -> None:
    rates = [learning_rate(STAGE, step, 50) for step in range(50)]
    assert rates[9] == max(rates) == 1e-3
    assert rates[:10] == sorted(rates[:10])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert abs(rates[-1] - 1e-4) < 1e-12


def test_one_step_has_a_learning_rate() -> None:
    assert learning_rate(STAGE, 0, 1) == 1e-3
