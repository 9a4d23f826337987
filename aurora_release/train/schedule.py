"""The learning rate as a pure function of the step."""

import math

from aurora_release.recipe import TrainStage


def learning_rate(stage: TrainStage, step: int, steps: int) -> float:
    """Return the learning rate of a step (from 0): linear warm-up, then cosine decay."""
    warmup = max(1, round(stage.warmup * steps))
    if step < warmup:
        return stage.learning_rate * (step + 1) / warmup
    progress = (step - warmup + 1) / max(1, steps - warmup)
    floor = stage.final_learning_rate
    return stage.learning_rate * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)
