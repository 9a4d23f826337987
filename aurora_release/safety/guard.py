"""The guard: one verdict about a text, by the policy, the classifier and nothing else."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from aurora_release.safety.classifier import Classifier, Judgement
from aurora_release.safety.policy import Policy, load
from aurora_release.safety.taxonomy import AREAS, LANGUAGES, UNVERIFIED, Action, Direction

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a text, and why."""

    action: Action
    category: str | None = None
    """An area of the taxonomy, `unverified`, or None where nothing was found."""
    score: float = 0.0
    """Calibrated probability of harm, 0 to 1."""
    scores: dict[str, float] = field(default_factory=dict)
    """Probability of each area; they add up to `score`."""
    language: str = "und"
    verified: bool = True
    """False where the language was not measured, or the classifier failed."""


class Guard:
    """Judges texts by a policy; blocking, thread-safe, about 30 ms a sentence on one CPU core."""

    def __init__(self, policy: Policy, classifier: Classifier):
        self.policy = policy
        self._classifier = classifier

    @classmethod
    def load(cls, policy_path: Path) -> "Guard":
        """Return the guard of a policy file, with the classifier head that the policy names."""
        policy = load(policy_path)
        return cls(policy, Classifier.load(policy_path.parent / policy.head))

    def judge(self, text: str, direction: Direction) -> Verdict:
        """Return the verdict about a text; one that could not be judged is `unverified`."""
        if not text.strip():
            return Verdict("allow")
        if len(text) > self.policy.longest:
            logger.warning("A text of %d characters is too long to be judged.", len(text))
            return self._unjudged()
        try:
            judgement = self._classifier.judge(text, direction)
        except Exception as error:
            # Whatever went wrong, the text was not judged. Its words stay out of the log.
            logger.error("The safety classifier failed: %s.", type(error).__name__)
            return self._unjudged()
        return self._decide(judgement, direction)

    def refusal(self, verdict: Verdict) -> str:
        """Return what the user reads in place of a blocked text, in the language of the text."""
        return self.policy.refusal(verdict.language, verdict.category)

    def _unjudged(self) -> Verdict:
        action: Action = "block" if self.policy.fail_closed else "flag"
        return Verdict(action, UNVERIFIED, score=1.0, verified=False)

    def _decide(self, judgement: Judgement, direction: Direction) -> Verdict:
        policy, scores = self.policy, judgement.scores
        verified = judgement.language in LANGUAGES
        threshold = policy.threshold(judgement.language, direction, judgement.threshold)
        blocked = [area for area in AREAS if policy.action(area, direction) == "block"]
        minded = [area for area in AREAS if policy.action(area, direction) != "allow"]
        rest = (judgement.score, scores, judgement.language, verified)
        choices: tuple[tuple[Action, list[str]], ...] = (("block", blocked), ("flag", minded))
        for action, areas in choices:
            if areas and sum(scores[area] for area in areas) >= threshold:
                return Verdict(action, max(areas, key=scores.__getitem__), *rest)
        if verified:
            return Verdict("allow", None, *rest)
        return Verdict(policy.action(UNVERIFIED, direction), UNVERIFIED, *rest)
