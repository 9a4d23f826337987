"""What the log says when a server answers: where it is, who may ask, what the filter does."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aurora_release.safety.taxonomy import CATEGORIES, Direction
from aurora_release.serve.engines.choose import Choice
from aurora_release.serve.keys import ApiKeys

if TYPE_CHECKING:
    from aurora_release.safety.policy import Policy
    from aurora_release.serve.engines.protocol import Engine

logger = logging.getLogger(__name__)


def address(folder: Path, url: str, engine: "Engine", others: Sequence["Engine"]) -> None:
    """Say in the log where the server is, and what its models are called."""
    logger.info("Serving %s%s at %s", folder, _format(engine.facts.dtype), url)
    logger.info("Chat page: %s/chat   OpenAI base URL: %s/v1", url, url)
    also_by = "a request that names none" if others else "any other name"
    logger.info("Model name: %s (%s gets it too)", engine.facts.id, also_by)
    for other in others:
        logger.info("Beside it: %s%s", other.facts.id, _format(other.facts.dtype))


def upstreams(choice: Choice, engine: "Engine") -> None:
    """Say in the log which other servers generate, and loudly where none of them can."""
    if not choice.upstreams:
        return
    logger.info("Answers come from %s", ", ".join(choice.upstreams))
    if not engine.stats().ready:
        logger.warning("None of them answers: requests are refused until one does.")


def access(keys: ApiKeys | None, audit_log: Path | None) -> None:
    """Say in the log whose requests are answered, and where decisions are written."""
    if keys is not None:
        logger.info("API keys: %d%s", keys.count, f" in {keys.path}" if keys.path else "")
    if audit_log is not None:
        logger.info("Audit log: %s", audit_log)


def _format(dtype: str) -> str:
    """Return the number format in brackets, where it is known: a GGUF file has several."""
    return "" if dtype == "unknown" else f" ({dtype})"


def filter_of(policy: "Policy") -> None:
    """Say in the log what the filter does, loudly where it does little."""
    mode = policy.stream.mode
    said = {
        "off": "the filter of answers is OFF: what the model says leaves unjudged",
        "flag": "harmful answers are ONLY FLAGGED: they leave, counted and logged",
        "redact": "harmful prompts are blocked; a notice replaces harmful segments of answers",
        "block": "harmful prompts and answers are blocked",
    }
    acts = mode in ("redact", "block")
    level = logging.INFO if acts else logging.WARNING
    logger.log(level, "Policy %s (%.12s): %s.", policy.name, policy.digest, said[mode])
    _passing(policy, "input", "prompts")
    if acts:
        _passing(policy, "output", "answers")
    if not policy.fail_closed:
        logger.warning("fail_closed is false: what could NOT BE JUDGED leaves, flagged.")


def _passing(policy: "Policy", direction: Direction, texts: str) -> None:
    """Say loudly in which areas harm passes."""
    passing = [name for name in CATEGORIES if policy.action(name, direction) != "block"]
    if passing:
        logger.warning("Harmful %s are LET THROUGH in: %s.", texts, ", ".join(passing))
