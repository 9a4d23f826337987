"""What is watched while training runs: the forgetting contract."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.recipe import Watch

log = logging.getLogger(__name__)

Breach = dict[str, Any]
"""A set, its floor, and its change with interval at a step."""


def breaches(measured: Mapping[str, Any], floors: Mapping[str, float]) -> list[Breach]:
    """Return the sets whose rise over the base model lies above their floor, interval and all.

    Before its first step a stage has broken nothing.
    """
    found = []
    if not measured["step"]:
        return []
    for name, row in measured["sets"].items():
        floor = floors.get(name, floors.get("*"))
        if floor is not None and row["interval"][0] > floor:
            found.append({
                "step": measured["step"], "set": name, "floor": floor,
                "change": row["change"], "interval": row["interval"],
            })  # fmt: skip
    return found


def sentence(breach: Breach) -> str:
    """Return a breach in words and numbers."""
    low, high = (f"{100 * end:+.1f}" for end in breach["interval"])
    return (
        f"{breach['set']} needs {100 * breach['change']:+.1f} % bits per byte over the base model "
        f"(95 % interval {low} to {high}) at step {breach['step']}; its floor is "
        f"{100 * breach['floor']:+.1f} %."
    )


def broken(stage: str, found: Sequence[Breach], watch: Watch) -> AuroraError | None:
    """Return the error that a broken contract ends with; where it only warns, None."""
    if not found:
        return None
    said = " ".join(sentence(breach) for breach in found)
    if watch.on_breach == "warn":
        log.warning("%-14s forgets more than agreed: %s", stage, said)
        return None
    return AuroraError(
        f"{stage} forgets more than train.watch.floors allows. {said} A checkpoint is written. "
        "Give the mixture more replay or lower learning_rate and train anew, or go on from the "
        "checkpoint by the same command with other floors or train.watch.on_breach=warn."
    )
