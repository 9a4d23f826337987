"""/v1/moderations: the filter itself, asked in the words of OpenAI's moderation API."""

from typing import Any

from aurora_release.safety.guard import Verdict
from aurora_release.safety.taxonomy import CATEGORIES

MODEL = "aurora-release-filter"

OPENAI: dict[str, tuple[str, ...]] = {
    "harassment": (),
    "harassment/threatening": (),
    "hate": (),
    "hate/threatening": (),
    "illicit": ("cyber", "illegal"),
    "illicit/violent": ("cbrn",),
    "self-harm": (),
    "self-harm/intent": (),
    "self-harm/instructions": (),
    "sexual": (),
    "sexual/minors": (),
    "violence": ("harm",),
    "violence/graphic": (),
}
"""OpenAI's categories, and the areas of the policy that are part of each.

The filter does not tell hate, harassment, self-harm and violence apart: all of them are `harm`.
"""


def result(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as OpenAI says it, with the filter's own categories beside OpenAI's."""
    found = verdict.category if verdict.category in CATEGORIES else None
    scores = {area: verdict.scores.get(area, 0.0) for area in CATEGORIES}
    if found is not None:
        scores[found] = scores[found] or verdict.score
    parts = OPENAI | {area: (area,) for area in CATEGORIES}
    return {
        "flagged": found is not None or verdict.action == "block",
        "categories": {name: found in areas for name, areas in parts.items()},
        "category_scores": {
            name: max((scores[area] for area in areas), default=0.0)
            for name, areas in parts.items()
        },
        "category_applied_input_types": {
            name: ["text"] if areas else [] for name, areas in parts.items()
        },
    }
