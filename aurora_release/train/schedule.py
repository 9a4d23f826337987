"""The learning rate as a pure function of the step."""

import math

from aurora_release.recipe import TrainStage


def learning_rate(stage: TrainStage, step: int, steps: int) -> float:
    """Return the learning rate of a step (from 0) of a stage of `steps` steps.

    Linear warm-up; then a cosine (Loshchilov and Hutter 2017), warm-up-stable-decay with the
    1 - sqrt decay of Hägele et al. 2024 (section 4), or the infinite schedule of Ibrahim et al.
    2024 (section 6): a cosine to a constant that any later run can go on from, then a decay.
    """
    name, done = phase(stage, step, steps)
    top, floor = stage.learning_rate, stage.final_learning_rate
    level = stage.constant_learning_rate if stage.schedule == "infinite" else 1.0
    if name == "warm-up":
        return top * done
    if name == "cosine":
        low = level if stage.schedule == "infinite" else floor
        return top * (low + (1 - low) * (1 + math.cos(math.pi * done)) / 2)
    if name == "decay":
        return top * (floor + (level - floor) * (1 - math.sqrt(done)))
    return top * level


def phase(stage: TrainStage, step: int, steps: int) -> tuple[str, float]:
    """Return the part of the schedule that a step lies in, and how much of it is then done.

    The last step of a part has done all of it: there the next one begins, at the same value.
    """
    begin = 0
    for name, end in _ends(stage, stage.schedule_steps or steps):
        if step < end:
            return name, (step + 1 - begin) / (end - begin)
        begin = max(begin, end)
    return name, 1.0


def _ends(stage: TrainStage, steps: int) -> list[tuple[str, int]]:
    """Return the parts of a schedule, each with the step at which it has ended."""
    warm = max(1, round(stage.warmup * steps))
    cooled = warm + round(stage.cooldown * steps)
    stable = steps - round(stage.decay * steps)
    parts = {
        "cosine": [("cosine", steps)],
        "constant": [("constant", steps)],
        "wsd": [("constant", stable), ("decay", steps)],
        "infinite": [("cosine", cooled), ("constant", stable), ("decay", steps)],
    }
    return [("warm-up", warm), *parts[stage.schedule]]
