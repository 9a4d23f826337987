"""What is said below an answer: what the filter decided about it, and how it came about."""

from collections.abc import Sequence
from dataclasses import dataclass

from aurora_release.safety.taxonomy import CATEGORIES, UNVERIFIED
from aurora_release.serve.audit import Decision
from aurora_release.serve.chat.talk import Progress
from aurora_release.serve.chat.words import word

_SAID = ("overloaded", "timeout", "failed", "invalid")
"""Kinds of errors that can be said in every language; what exactly is wrong is said in English."""

_SEVERITY = ("allow", UNVERIFIED, "flag", "redact", "block")


@dataclass(frozen=True)
class Note:
    """One line that says the most, and the lines behind it."""

    title: str
    lines: tuple[str, ...]
    alarming: bool
    """Whether the lines should be read without being asked for."""


def note(now: Progress, language: str) -> Note:
    """Return what is to be said about an answer that has ended."""
    decisions = now.decisions or ()
    asked = [decision for decision in decisions if decision.direction == "input"]
    answered = [decision for decision in decisions if decision.direction == "output"]
    speed = _speed(now, language)
    if now.error is not None:
        reason = [word(language, f"error_{now.kind}")] if now.kind in _SAID else []
        return Note(word(language, "failed"), (*reason, now.error), alarming=True)
    if now.decisions is None:
        return _untold(now, language, speed)
    sides = [_side(asked, "input", language)]
    if answered or not now.blocked:
        sides.append(_side(answered, "output", language))
    states = {_state(decision) for decision in decisions}
    clear = bool(answered) and states == {"allow"}
    told = word(language, "allow") if clear else " · ".join(sides)
    title = " · ".join((f"{word(language, 'filter')}: {told}", *speed))
    scores = sides if clear else []  # the title has them otherwise
    lines = (*scores, *_reasons(decisions, language), *_circumstances(now, language))
    return Note(title, lines, alarming=not states <= {"allow", UNVERIFIED})


def _untold(now: Progress, language: str, speed: Sequence[str]) -> Note:
    """Return what can be said of a server that names no decisions."""
    told = word(language, "block" if now.blocked else "untold")
    title = " · ".join((f"{word(language, 'filter')}: {told}", *speed))
    return Note(title, tuple(_circumstances(now, language)), now.blocked)


def _side(decisions: Sequence[Decision], direction: str, language: str) -> str:
    """Return what became of the question, or of the answer, as its worst part was judged."""
    name = word(language, direction)
    if not decisions:
        return f"{name}: {word(language, 'unjudged')}"
    worst = max(decisions, key=_rank)
    state = _state(worst)
    said = f"{name}: {word(language, state)}"
    if worst.category in CATEGORIES and state != "allow":
        said += f" ({word(language, str(worst.category))}, {_score(worst, language)})"
    elif state == "allow":
        said += f" ({_score(worst, language)})"
    alike = sum(_state(decision) == state for decision in decisions)
    if direction == "output" and state not in ("allow", "block") and len(decisions) > 1:
        said += f", {word(language, 'parts', count=alike, all=len(decisions))}"
    return said


def _state(decision: Decision) -> str:
    """Return the action, or that nobody can vouch for it: what was let through is not safe then."""
    if decision.category == UNVERIFIED and decision.action in ("allow", "flag"):
        return UNVERIFIED
    return decision.action


def _rank(decision: Decision) -> tuple[int, float]:
    return _SEVERITY.index(_state(decision)), decision.score


def _score(decision: Decision, language: str) -> str:
    return f"{word(language, 'score')} {decision.score:.2f}"


def _reasons(decisions: Sequence[Decision], language: str) -> list[str]:
    """Return what a person should know about decisions that are more than a score."""
    found = []
    for decision in decisions:
        if decision.action == "block":
            found.append(f"held_{decision.direction}")
        if decision.failure is not None:
            found.append("why_failed")
        elif decision.category == UNVERIFIED:
            found.append("why_unverified")
    return [word(language, key) for key in dict.fromkeys(found)]


def _speed(now: Progress, language: str) -> tuple[str, ...]:
    """Return tokens and their speed; of a blocked question there is nothing to say."""
    if not now.tokens or not now.seconds:
        return ()
    rate = now.tokens / now.seconds
    return (word(language, "speed", tokens=now.tokens, seconds=now.seconds, rate=rate),)


def _circumstances(now: Progress, language: str) -> list[str]:
    lines = []
    if now.first is not None and now.tokens:
        lines.append(word(language, "first", seconds=now.first))
    if now.seed is not None and now.tokens:
        lines.append(f"{word(language, 'seed')} {now.seed}")
    if now.ending == "length":
        lines.append(word(language, "length"))
    if now.left_out:
        lines.append(word(language, "left_out", count=now.left_out))
    return lines
