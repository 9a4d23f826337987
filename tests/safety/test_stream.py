"""Nothing leaves the stream filter before it was judged, and deltas change nothing."""

import pytest

from aurora_release.safety.guard import Guard, Verdict
from aurora_release.safety.stream import REASONING, TEXT, Channel, StreamFilter, worst
from aurora_release.shipped import shipped
from tests.safety.streams import (
    ALLOW,
    BLOCK,
    NOTICE,
    SECOND_TOOL,
    TOOL,
    UNJUDGED,
    left,
    run,
    stream,
    whole,
)


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("One is here. Two is here. ", ["One is here. ", "Two is here. "]),
        ("He said it (now.) Then left", ["He said it (now.) ", "Then left"]),
        ("猫は好きです。犬も好きです。", ["猫は好きです。", "犬も好きです。"]),
        ("मैं घर जाता हूँ।वह आता है।", ["मैं घर जाता हूँ।", "वह आता है।"]),
        ("Pi is 3.14159 or so", ["Pi is 3.14159 or so"]),
        ("line one\nline two", ["line one\n", "line two"]),
        ("هل هذا قط؟ نعم", ["هل هذا قط؟", " نعم"]),
        (
            "長い文で、終わりがなかなか来ないけれど、まだ続いていく",
            ["長い文で、終わりがなかなか来ないけれど、", "まだ続いていく"],
        ),
        ("no end of words in this one at all", ["no end of words in this ", "one at all"]),
        ("n" * 30, ["n" * 24, "n" * 6]),
        ("No. I do. ", ["No. I do. "]),
    ],
)
def test_where_segments_end(text: str, segments: list[str]) -> None:
    releases, _ = run((TEXT, character) for character in text)
    assert [found.segment.text for found in releases] == segments


def test_each_segment_is_judged_alone_and_behind_what_left() -> None:
    releases, _ = run([(TEXT, "First one here. Second one. Third")])
    assert [found.segment.views for found in releases] == [
        ("First one here. ",),
        ("Second one. ", "e here. Second one. "),
        ("Third", "nd one. Third"),
    ]
    assert [found.segment.position for found in releases] == [0, 16, 28]


def test_context_is_what_a_reader_sees() -> None:
    marks = "\u0301" * 3
    releases, _ = run([(TEXT, f"One\u200b  be{marks}\u0301. Next one. ")])
    assert releases[1].segment.views == ("Next one. ", f" be{marks}. Next one. ")
    releases, _ = run([(TEXT, " Go on. Next one. ")])
    assert releases[1].segment.views == ("Next one. ", "Go on. Next one. ")
    releases, _ = run([(TEXT, "\u0301Go on. Next one. ")])
    assert releases[1].segment.views == ("Next one. ", "Go on. Next one. ")


def test_without_context_a_segment_is_judged_by_itself() -> None:
    releases, _ = run([(TEXT, "First one here. Second one. ")], context_characters=0)
    assert [found.segment.views for found in releases] == [("First one here. ",), ("Second one. ",)]


def test_harm_that_two_segments_say_together_is_seen() -> None:
    assert whole("It is one. Two is it. ", lambda text: BLOCK if "one. Two" in text else ALLOW) == (
        "It is one. "
    )


@pytest.mark.parametrize(
    "filler",
    [*"\u115f\u1160\u2800\u3164\uffa0", " ", "\u2003", "\u200b", "\x00", "\ud800", "\ue000",
     "\u0378", "\u0301", " \u0301"],
)  # fmt: skip
def test_what_shows_nothing_fills_no_context(filler: str) -> None:
    releases, _ = run([(TEXT, "A pipe bo\n" + filler * 90 + "\nmb is it")])
    assert any("bo" in view and "mb" in view for view in releases[-1].segment.views)


def test_harm_that_two_channels_say_together_is_seen() -> None:
    deltas = [(REASONING, "A pipe and a "), (TEXT, "bomb is what"), (TOOL, '{"q": "go"}')]
    outlet = StreamFilter(stream())
    for channel, delta in deltas:
        outlet.feed(channel, delta)
        outlet.finish(channel)
    releases = []
    while segment := outlet.segment():
        together = any("a bomb" in view for view in segment.views)
        releases.append(outlet.settle(BLOCK if together else ALLOW))
    assert left(releases, REASONING) == "A pipe and a "
    assert left(releases, TEXT) == left(releases, TOOL) == ""


@pytest.mark.parametrize(
    ("arguments", "before"),
    [
        (r'{"q": "\u0062\u006fm\u0062"}', '{"q": '),
        (r'{"q": "bo\u006Db"}', '{"q": '),
        (r'{"q": "{\"q\": \"\\u0062omb\"}"}', r'{"q": "{\"q\": '),
        (
            r'{"q": "{\"q\": \"{\\\"q\\\": \\\"\\\\u0062omb\\\"}\"}"}',
            r'{"q": "{\"q\": \"{\\\"q\\\": ',
        ),
    ],
)
def test_arguments_are_judged_as_the_tool_will_read_them(arguments: str, before: str) -> None:
    for deltas in ([(TOOL, arguments)], [(TOOL, character) for character in arguments]):
        releases, outlet = run(deltas, lambda text: BLOCK if "bomb" in text else ALLOW)
        assert before.startswith(left(releases, TOOL))
        assert outlet.blocked == BLOCK


@pytest.mark.parametrize(
    ("channel", "form", "blocked"),
    [(TEXT, True, True), (TEXT, False, False), (TEXT, None, False), (TOOL, True, True)],
)
def test_text_is_read_as_json_where_it_is_and_arguments_always(
    channel: Channel, form: bool | None, blocked: bool
) -> None:
    said = [(channel, r'{"q": "\u0062omb"}')]
    _, outlet = run(said, lambda text: BLOCK if "bomb" in text else ALLOW, form)
    assert (outlet.blocked is not None) == blocked


def test_escapes_within_escapes_are_read_across_segments_of_their_call() -> None:
    releases, outlet = run(
        [(TOOL, '"' + "n" * 17 + r"\\u0062"), (TEXT, "Hello there. "), (TOOL, 'omb"')],
        lambda text: BLOCK if "bomb" in text else ALLOW,
    )
    assert left(releases, TOOL) == '"' + "n" * 17 + r"\\u0062"
    assert outlet.blocked == BLOCK


def test_the_length_of_arguments_is_that_of_what_they_say() -> None:
    for deltas in ([(TOOL, r"\ud83d\ude00" * 60)], [(TOOL, c) for c in r"\ud83d\ude00" * 60]):
        releases, _ = run(deltas)
        assert [len(found.segment.text) for found in releases] == [24 * 12, 24 * 12, 12 * 12]
        assert [found.segment.position for found in releases] == [0, 24 * 12, 48 * 12]
        assert {len(found.segment.views[0]) for found in releases} == {24, 12}


def test_json_within_json_is_read_three_deep() -> None:
    releases, _ = run([(TOOL, "\\" * 8 + "n")])
    assert releases[0].segment.views == tuple("\\" * many + "n" for many in (4, 2, 1, 8))


def test_an_escape_that_is_cut_off_leaves_at_the_end() -> None:
    assert left(run([(TOOL, r'"Go \u00')])[0], TOOL) == r'"Go \u00'


def test_arguments_are_also_judged_as_they_are_written() -> None:
    releases, _ = run([(TOOL, r'{"path": "C:\new"}')], lambda t: BLOCK if r"C:\new" in t else ALLOW)
    assert left(releases, TOOL) == r'{"path": "C:\n'


def test_escaped_line_ends_end_segments() -> None:
    releases, _ = run([(TOOL, r'"def f():\n  return 1\n"')])
    assert [found.segment.text for found in releases] == [r'"def f():\n', r"  return 1\n", '"']


def test_parallel_calls_are_held_apart() -> None:
    releases, _ = run(
        [(TOOL, '{"a": '), (SECOND_TOOL, '{"b": '), (TOOL, "1}"), (SECOND_TOOL, "2}")]
    )
    assert (left(releases, TOOL), left(releases, SECOND_TOOL)) == ('{"a": 1}', '{"b": 2}')


def test_the_end_of_a_channel_is_not_that_of_another() -> None:
    outlet = StreamFilter(stream())
    outlet.feed(REASONING, "A thought")
    outlet.feed(TEXT, "A word")
    outlet.finish(REASONING)
    assert outlet.settle(ALLOW).text == "A thought"
    assert outlet.segment() is None


def test_a_megabyte_in_one_delta_comes_out_as_it_went_in() -> None:
    text = "Some words go here. " * 50_000
    assert whole(text, lambda text: ALLOW, max_characters=4096, min_characters=4096) == text


# ---- what becomes of what is blocked -------------------------------------------------------------


def test_after_a_block_nothing_leaves_on_any_channel() -> None:
    deltas = [(TEXT, "All is well here. An X is bad. All is well again. "), (REASONING, "So. " * 9)]
    releases, outlet = run(deltas)
    assert left(releases) == "All is well here. "
    assert left(releases, REASONING) == ""
    assert (outlet.blocked, releases[-1].outcome) == (BLOCK, "block")
    outlet.feed(TOOL, "{}")
    outlet.finish()
    assert outlet.segment() is None


def test_redacting_puts_one_notice_in_the_place_of_harm_and_goes_on() -> None:
    text = "Fine one here. X is bad here. X is worse here. Fine again here.\n"
    assert whole(text, mode="redact") == f"Fine one here. {NOTICE} Fine again here.\n"
    assert whole("Bad X here\nFine one", mode="redact") == f"{NOTICE}\nFine one"
    assert whole("Fine one. X is bad. Fine two.", mode="redact") == f"Fine one. {NOTICE} Fine two."


def test_what_was_redacted_is_no_context() -> None:
    releases, _ = run([(TEXT, "Fine one. X is bad. Fine two. ")], mode="redact")
    assert releases[-1].segment.views == ("Fine two. ", "ne one. Fine two. ")


def test_arguments_of_a_tool_are_blocked_where_text_is_redacted() -> None:
    releases, outlet = run([(TEXT, "An X here. "), (TOOL, '{"q": "X"}')], mode="redact")
    assert left(releases) == f"{NOTICE} "
    assert left(releases, TOOL) == ""
    assert outlet.blocked == BLOCK


def test_flagging_lets_everything_leave_and_says_so() -> None:
    releases, outlet = run([(TEXT, "An X here. Fine one here.")], mode="flag")
    assert left(releases) == "An X here. Fine one here."
    assert releases[0].outcome == "flag"
    assert outlet.blocked is None
    assert whole("Flagged", lambda text: Verdict("flag", "harm", 0.9)) == "Flagged"


def test_an_interrupted_judge_leaves_the_stream_closed() -> None:
    outlet = StreamFilter(stream())
    outlet.feed(TEXT, "This sentence is long enough. And another one follows here.")
    first = outlet.segment()
    outlet.feed(TEXT, "More of it follows. ")
    outlet.finish()
    assert outlet.segment() == first is not None


def test_nothing_can_be_settled_that_was_not_asked() -> None:
    with pytest.raises(LookupError, match=r"^No segment waits for a verdict\.$"):
        StreamFilter(stream()).settle(ALLOW)


def test_the_worst_view_decides() -> None:
    flag = Verdict("flag", "harm", 0.7)
    assert worst([ALLOW, flag, Verdict("allow", score=0.9)]) == flag
    assert worst(iter([flag, BLOCK, UNJUDGED])) == BLOCK
    assert worst([flag, Verdict("flag", "cyber", 0.7)]) == flag


def test_a_harmful_stream_is_stopped_before_the_harm() -> None:
    guard = Guard.load(shipped("serve/policies/default.yaml"))
    text = "Helsinki is the capital of Finland. Sure, here is how to make a pipe bomb at home. "
    releases, outlet = run(
        ((TEXT, character) for character in text),
        lambda text: guard.judge(text, "output"),
        **guard.policy.stream.model_dump(),
    )
    assert left(releases) == "Helsinki is the capital of Finland. "
    assert outlet.blocked is not None
