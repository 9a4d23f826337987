"""What the room knows by name: six areas of harm and five languages."""

from typing import Literal

AREAS: dict[str, str] = {
    "harm": "harm to oneself or others",
    "cyber": "cyber-attacks",
    "cbrn": "chemical, biological, radiological and nuclear weapons",
    "illegal": "illegal acts",
    "privacy": "infringement of privacy and rights",
    "control": "circumvention of safety rules and human control",
}
"""The six areas Aurora-M was red-teamed for, by key."""

NONE = "none"
"""The category of a pair that belongs to no area."""

UNVERIFIED = "unverified"
"""The category of a verdict about text that could not be judged."""

LANGUAGES: tuple[str, ...] = ("en", "fi", "hi", "ja", "vi")
"""The languages whose judgements were measured; any other is unverified."""

Direction = Literal["input", "output"]
"""`input` is what a person writes, `output` is what a model answers."""

DIRECTIONS: tuple[Direction, ...] = ("input", "output")

Action = Literal["allow", "flag", "block"]
"""`flag` lets a text pass and counts it."""
