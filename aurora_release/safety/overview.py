"""A policy as a person reads it: what happens to what, from which threshold, and who judges."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aurora_release.safety.policy import GuardSettings, Policy, load
from aurora_release.safety.taxonomy import (
    AREAS,
    CATEGORIES,
    DIRECTIONS,
    HAZARDS,
    MAPPING,
    OTHER,
    UNVERIFIED,
)


def facts(path: Path) -> dict[str, Any]:
    """Return what a policy file says, with its digest, mapping and the thresholds in force.

    Raises:
        AuroraError: the policy, or the head it names, cannot be read.
    """
    policy = load(path)
    return {
        **policy.model_dump(),
        "file": path.name,
        "digest": policy.digest,
        "thresholds": _thresholds(policy, path.parent),
        "mapping": MAPPING,
        "hazards": HAZARDS,
    }


def page(found: dict[str, Any]) -> str:
    """Return the facts about a policy as a text of at most 100 columns, long sentences aside."""
    policy = Policy.model_validate({key: found[key] for key in Policy.model_fields})
    lines = [
        f"{found['name']} ({found['file']})",
        f"sha256:{found['digest']}",
        "",
        f"What no guard can judge is {'blocked' if policy.fail_closed else 'flagged'}; so is text "
        f"above {policy.longest:,} characters.",
        "",
        *_actions(policy),
        "",
        *_areas(policy),
        *_threshold_table(found["thresholds"]),
        "",
        "Guards",
        *(f"  {number}. {_guard(guard)}" for number, guard in enumerate(policy.guards, 1)),
        "",
        "Output filter",
        *(f"  {key}:{_shown(value)}" for key, value in policy.stream.model_dump().items()),
        "",
        "Labels of guards (S1 to S14: MLCommons hazards, as Llama Guard 3 and 4 say them)",
        *_mapping(found["mapping"]),
        "",
        "Help against thoughts of self-harm",
        *(f"  {language}  {text}" for language, text in policy.help.items()),
    ]
    return "\n".join(lines)


def _thresholds(policy: Policy, beside: Path) -> dict[str, dict[str, float]]:
    """Return the classifier's thresholds by direction and language; none where it is not asked."""
    if all(guard.kind != "classifier" for guard in policy.guards):
        return {}
    from aurora_release.safety.classifier import load_heads

    heads = load_heads(policy.head_file(beside))
    return {
        direction: {
            language: policy.threshold(language, direction, fitted)
            for language, fitted in heads[direction].thresholds.items()
        }
        for direction in DIRECTIONS
    }


def _actions(policy: Policy) -> Iterator[str]:
    yield f"{'':12}{'input':8}output"
    for category in (*CATEGORIES, UNVERIFIED):
        actions = [f"{policy.action(category, direction):8}" for direction in DIRECTIONS]
        yield f"{category:12}{''.join(actions)}".rstrip()


def _areas(policy: Policy) -> Iterator[str]:
    for key, area in policy.areas.items():
        yield f"{key}: {area.title}"
        yield f"  {area.definition}"
        for text in area.allowed:
            yield f"  allowed  {text}"
        for text in area.refused:
            yield f"  refused  {text}"
        yield ""


def _threshold_table(thresholds: dict[str, dict[str, float]]) -> Iterator[str]:
    yield "Thresholds of the classifier in force"
    if not thresholds:
        yield "  none: this policy does not ask it"
        return
    languages = sorted({name for values in thresholds.values() for name in values})
    yield f"{'':10}" + "".join(f"{language:>8}" for language in languages)
    for direction, values in thresholds.items():
        numbers = (f"{values[name]:8.4f}" if name in values else f"{'-':>8}" for name in languages)
        yield f"  {direction:8}" + "".join(numbers)


def _guard(guard: GuardSettings) -> str:
    """Return one guard in a line."""
    if guard.kind == "classifier":
        text = "classifier (built in)"
    else:
        where = guard.folder or f"{guard.model} at {guard.url}"
        text = (
            f"{guard.kind}, {where}: harmful from {guard.threshold}, "
            f"within {guard.timeout_seconds:g} s"
        )
    unsure = f"; asks the next one within {guard.unsure} of its threshold"
    return text + (unsure if guard.unsure else "")


def _mapping(mapping: dict[str, dict[str, str | None]]) -> Iterator[str]:
    """Return for each area the labels that count for it, guard by guard."""
    for area in (*AREAS, OTHER, None):
        yield f"  {area or 'not a matter of this policy'}"
        for guard, labels in mapping.items():
            names = [_named(label) for label, place in labels.items() if place == area]
            if names and guard != "classifier":
                yield f"    {guard:12}  {', '.join(names)}"


def _shown(value: object) -> str:
    if not isinstance(value, dict):
        return f" {value}"
    return "".join(f"\n    {key}  {text}" for key, text in value.items())


def _named(label: str) -> str:
    return f"{label} {HAZARDS[label]}" if label in HAZARDS else label
