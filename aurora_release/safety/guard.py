"""The guard: what the policy decides about a text, after its guards have judged it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aurora_release.safety.guards.protocol import GuardModel, Judgement, Subject, Unjudged, words
from aurora_release.safety.policy import Policy, load
from aurora_release.safety.taxonomy import CATEGORIES, UNVERIFIED, Action, Direction

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verdict:
    """What is to be done with a text, and why."""

    action: Action
    category: str | None = None
    """An area of the taxonomy, `other`, `unverified`, or None where nothing was found."""
    score: float = 0.0
    """Calibrated probability of harm, 0 to 1."""
    scores: dict[str, float] = field(default_factory=dict)
    """Probability of each area; those of the built-in classifier add up to `score`."""
    language: str = "und"
    verified: bool = True
    """False where the language was not measured, or nobody could judge."""
    labels: tuple[str, ...] = ()
    """What a guard model called it, in its own words."""
    asked: tuple[str, ...] = ()
    """The guards that judged, in order."""
    milliseconds: float = field(default=0.0, compare=False)

    @property
    def safety(self) -> Literal["safe", "unsafe", "unverified"]:
        """The verdict in a word; harm found in an unknown language is harm all the same."""
        if self.category in CATEGORIES:
            return "unsafe"
        return "safe" if self.verified else "unverified"


class Guard:
    """Judges texts by a policy; blocking, thread-safe, about 30 ms a sentence on one CPU core."""

    def __init__(self, policy: Policy, model: GuardModel):
        self.policy = policy
        self._model = model

    @classmethod
    def load(cls, policy_path: Path) -> "Guard":
        """Return the guard of a policy file, with the guards that the policy names.

        Raises:
            AuroraError: the policy, a head, a model folder or a key file cannot be read.
        """
        return cls.of(load(policy_path), policy_path)

    @classmethod
    def of(cls, policy: Policy, path: Path) -> "Guard":
        """Return the guard of a policy that was read from the file `path`.

        Raises:
            AuroraError: a head, a model folder or a key file cannot be read.
        """
        from aurora_release.safety.guards.load import load_guards

        logger.info("Reading the policy %s", path)
        return cls(policy, load_guards(policy, path.parent))

    def judge(self, subject: Subject, direction: Direction) -> Verdict:
        """Return the verdict about a text, or about the last turn of a conversation.

        What could not be judged is `unverified`; an empty text is, and passes.
        """
        text = words(subject)
        if not text.strip():
            return Verdict("allow", verified=False)
        if len(text) > self.policy.longest:
            logger.warning("A text of %d characters is too long to be judged.", len(text))
            return self._unjudged()
        return self._ask(lambda: [self._model.judge(subject, direction)], 1, direction)[0]

    def judge_many(self, texts: Sequence[str], direction: Direction) -> list[Verdict]:
        """Return the verdicts about texts, judged together where the guard can do that."""
        together = getattr(self._model, "judge_many", None)
        longest = self.policy.longest
        if together is None or any(not text.strip() or len(text) > longest for text in texts):
            return [self.judge(text, direction) for text in texts]
        return self._ask(lambda: together(texts, direction), len(texts), direction)

    def refusal(self, verdict: Verdict) -> str:
        """Return what the user reads in place of a blocked text, in the language of the text."""
        return self.policy.refusal(verdict.language, verdict.category)

    def _ask(
        self, ask: Callable[[], list[Judgement]], count: int, direction: Direction
    ) -> list[Verdict]:
        """Return what the policy decides about so many texts."""
        try:
            found = ask()
            if len(found) != count:
                raise Unjudged(f"{len(found)} judgements came back for {count} texts")
        except Unjudged as reason:
            logger.error("No guard could judge a text: %s.", reason)
            return [self._unjudged()] * count
        except Exception as error:
            # Whatever went wrong, the text was not judged. Its words stay out of the log.
            logger.error("The guard failed: %s.", type(error).__name__)
            return [self._unjudged()] * count
        return [self._decide(judgement, direction) for judgement in found]

    def _unjudged(self) -> Verdict:
        action: Action = "block" if self.policy.fail_closed else "flag"
        return Verdict(action, UNVERIFIED, score=1.0, verified=False)

    def _decide(self, found: Judgement, direction: Direction) -> Verdict:
        policy, scores, verified = self.policy, found.scores, found.verified
        # fmt: off
        rest = (found.score, scores, found.language, verified, found.labels, found.asked,
                found.milliseconds)
        # fmt: on
        present = [category for category in CATEGORIES if category in scores]
        blocked = [name for name in present if policy.action(name, direction) == "block"]
        minded = [name for name in present if policy.action(name, direction) != "allow"]
        largest = max(present, key=scores.__getitem__, default="")

        def reaches(names: list[str]) -> bool:
            return sum(scores[name] for name in names) >= found.threshold

        choices: tuple[tuple[Action, list[str]], ...] = (("block", blocked), ("flag", minded))
        for action, names in choices:
            # or else an area that passes would take its share from the one the text belongs to
            if names and (reaches(names) or (largest in names and reaches(present))):
                return Verdict(action, max(names, key=scores.__getitem__), *rest)
        if verified:
            return Verdict("allow", None, *rest)
        return Verdict(policy.action(UNVERIFIED, direction), UNVERIFIED, *rest)
