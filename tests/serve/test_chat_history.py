import asyncio
from contextlib import aclosing

from aurora_release.serve.chat import history
from aurora_release.serve.chat.talk import Progress
from aurora_release.serve.prompts import Message


def talked(*questions, blocked=(), stopped=()):
    entries = []
    for question in questions:
        now = Progress(f"{question}!", "stop", question in blocked)
        if question in stopped:
            now = Progress("part")
        entries = history.answered(history.asking(entries, question), now, "en")
    return history.stopped(entries, "en")


def test_the_model_reads_no_notes_and_nothing_that_was_blocked():
    entries = talked("a", "bad", "c", blocked={"bad"}, stopped={"c"})
    # as the browser sends it back: text in parts
    for entry in entries:
        entry["content"] = [{"type": "text", "text": entry["content"]}]
    assert history.turns(history.asking(entries, "d"), "Be kind.") == [
        Message("system", "Be kind."),
        Message("user", "a"),
        Message("assistant", "a!"),
        Message("user", "c"),
        Message("assistant", "part"),
        Message("user", "d"),
    ]


def test_a_question_that_nobody_answered_is_left_out():
    entries = history.answered(history.asking([], "a"), Progress(error="too long"), "en")
    assert history.turns(history.asking(entries, "b"), "") == [Message("user", "b")]


def test_an_edit_finds_the_same_question_in_a_column_that_began_later():
    left, right = talked("a", "b", "c"), talked("b", "c")
    place = next(place for place, entry in enumerate(left) if entry["content"] == "b")
    later = history.later(left, place)
    assert history.through(left, later)[-1]["content"] == "b"
    assert history.through(right, later) == [{"role": "user", "content": "b"}]
    assert history.through(right, history.later(left, 0)) == []


def test_two_answers_come_side_by_side_and_are_closed_together():
    closed = []

    async def counting(name):
        try:
            for number in range(1000):
                yield f"{name}{number}"
                await asyncio.sleep(0)
        finally:
            closed.append(name)

    async def watch():
        seen = []
        async with aclosing(history.together([counting("a"), counting("b")], ["", ""])) as states:
            async for state in states:
                seen.append(state)
                if state == ["a5", "b5"]:
                    break
        return seen

    assert ["a5", "b5"] in asyncio.run(watch())
    assert sorted(closed) == ["a", "b"]
