import pytest

from aurora_release.safety.taxonomy import AREAS, LANGUAGES, OTHER, UNVERIFIED
from aurora_release.serve.audit import Decision
from aurora_release.serve.chat import words
from aurora_release.serve.chat.notes import note
from aurora_release.serve.chat.talk import Progress


def decided(direction, action, category=None, score=0.03, failure=None):
    return Decision(
        "r", 0, direction, "text", 0, 80, action, category, score, "en", ("a guard",), failure, 1.0
    )  # fmt: skip


def told(*decisions, language="en", **rest):
    blocked = any(one.action == "block" for one in decisions)
    now = Progress("text", "stop", blocked, tuple(decisions), tokens=20, seconds=4.0, **rest)
    return note(now, language)


def test_nothing_found_is_said_with_scores_and_speed():
    found = told(decided("input", "allow"), decided("output", "allow", score=0.2), seed=7)
    assert found.title == "Safety filter: no harm found · 20 tokens in 4.0 s, 5.0 tokens/s"
    assert found.lines[:2] == (
        "question: no harm found (score 0.03)",
        "answer: no harm found (score 0.20)",
    )
    assert "Seed 7" in found.lines
    assert not found.alarming


@pytest.mark.parametrize("direction", ["input", "output"])
def test_what_could_not_be_verified_is_never_called_free_of_harm(direction):
    both = [decided("input", "allow"), decided("output", "allow")]
    both[direction == "output"] = decided(direction, "flag", UNVERIFIED, 0.0)
    found = told(*both)
    assert "not verified, and let through" in found.title
    assert not found.title.startswith("Safety filter: no harm")
    assert any("do not rely" in line for line in found.lines)


def test_a_judge_that_failed_is_named_and_has_no_score():
    found = told(decided("input", "block", UNVERIFIED, 1.0, "timeout"))
    assert found.title.startswith("Safety filter: question: blocked, text held back")
    assert "score" not in " ".join((found.title, *found.lines))
    assert any("nobody judged" in line for line in found.lines)
    assert found.alarming


def test_blocked_flagged_and_removed_are_told_apart_for_question_and_answer():
    question = decided("input", "flag", "privacy", 0.6)
    found = told(question, decided("output", "block", "cyber", 0.91))
    assert (
        "question: flagged, and let through (infringement of privacy and rights, score 0.60) · "
        "answer: blocked, text held back (cyber-attacks, score 0.91)"
    ) in found.title
    assert found.lines == ("The answer was ended; the harmful part never left the server.",)
    parts = [decided("output", "allow"), decided("output", "redact", "harm", 0.8)]
    found = told(decided("input", "allow"), *parts)
    assert "answer: harmful part removed (harm to oneself or others, score 0.80), 1 of 2 parts" in (
        found.title
    )
    assert found.alarming


def test_answers_that_nobody_judged_are_said_to_be_so():
    assert "answer: not judged" in told(decided("input", "allow")).title
    silent = note(Progress("text", "stop", decisions=None), "en")
    assert silent.title == "Safety filter: the server does not say what it decided"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_category_and_text_is_said_in_every_language(language):
    for category in (*AREAS, OTHER):
        found = told(decided("input", "block", category, 0.9), language=language)
        assert words.word(language, category) in found.title
    english = told(decided("input", "allow"), decided("output", "allow"))
    translated = told(decided("input", "allow"), decided("output", "allow"), language=language)
    assert (translated.title == english.title) == (language == "en")
