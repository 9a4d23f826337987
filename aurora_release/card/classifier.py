"""The filter that a run was evaluated with: its head's report, for a card of its own."""

import json
from collections.abc import Mapping
from typing import Any

from aurora_release import atomic
from aurora_release.card import safety
from aurora_release.card.chain import Chain, at
from aurora_release.evidence import canonical, sha256_file
from aurora_release.run import Job
from aurora_release.safety import policy
from aurora_release.safety.headcard import card
from aurora_release.shipped import resolve

STAGE = "filter"


def report(job: Job) -> dict[str, Any]:
    """Write and return the policy's name, its guards, and what was reported of its head."""
    path = resolve(job.recipe.policy, job.beside)
    found = policy.load(path)
    head = found.head_file(path.parent)
    beside = head.with_suffix(".json")
    facts = {
        "policy": found.name,
        "guards": [guard.kind for guard in found.guards],
        "fail_closed": found.fail_closed,
        "policy_sha256": sha256_file(path),
        "head_sha256": sha256_file(head) if head.is_file() else None,
        "fitted": json.loads(beside.read_bytes()) if beside.is_file() else None,
    }
    atomic.write_bytes(job.folder / "filter.json", canonical(facts) + b"\n")
    return facts


def facts(chain: Chain, _: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the template.

    What it blocked stands there only where it was evaluated with this policy and this head.
    """
    found = at(chain, STAGE, "measured") or {}
    evaluated = f"evaluate-{chain.final}"
    same = found and all(
        found.get(f"{key}_sha256") == at(chain, evaluated, "inputs", key)
        for key in ("policy", "head")
    )
    fitted = found.get("fitted")
    keys = ("policy", "guards", "fail_closed", "policy_sha256", "head_sha256")
    return {
        "title": chain.recipe.title,
        **{key: found.get(key) for key in keys},
        "fitted": _inner(card(fitted)) if fitted else None,
        "rows": safety.filtered(chain) if same else [],
    }


def _inner(markdown: str) -> str:
    """Return a card without its title, each heading one level further down."""
    _, _, body = markdown.partition("\n")
    return body.strip().replace("\n## ", "\n### ")
