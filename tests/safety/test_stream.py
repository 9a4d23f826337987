"""Nothing leaves the stream filter before it was judged, and deltas change nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aurora_release.safety.guard import Verdict
from aurora_release.safety.stream import StreamFilter

TEXT = st.text(
    alphabet=st.one_of(st.sampled_from("ab X .!?…。！？।\n\t\"'」"), st.characters()), max_size=300
)
ALLOW = Verdict("allow")
BLOCK = Verdict("block", "harm", 0.9)


def careful(text: str) -> Verdict:
    """Blocks what holds an X."""
    return BLOCK if "X" in text else ALLOW


def filtered(
    deltas: list[str], maximum: int = 24, minimum: int = 5, context: int = 8
) -> tuple[str, list[str], StreamFilter]:
    """Return what left, what was judged, and the filter."""
    judged: list[str] = []

    def judge(text: str) -> Verdict:
        judged.append(text)
        return careful(text)

    outlet = StreamFilter(judge, maximum, minimum, context)
    left = "".join([*map(outlet.feed, deltas), outlet.finish()])
    return left, judged, outlet


@st.composite
def cut_text(draw: st.DrawFn) -> tuple[str, list[str]]:
    text = draw(TEXT)
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=40)))
    bounds = [0, *places, len(text)]
    return text, [text[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]


@settings(max_examples=400, deadline=None)
@given(cut_text(), st.integers(8, 60), st.integers(1, 8), st.integers(0, 30))
def test_deltas_change_nothing_and_nothing_harmful_leaves(
    cut: tuple[str, list[str]], maximum: int, minimum: int, context: int
) -> None:
    text, deltas = cut
    whole = filtered([text], maximum, minimum, context)
    pieces = filtered(deltas, maximum, minimum, context)
    letters = filtered(list(text), maximum, minimum, context)
    assert whole[:2] == pieces[:2] == letters[:2]
    left, _, outlet = whole
    assert text.startswith(left)
    if "X" in text:
        assert "X" not in left
        assert outlet.blocked == pieces[2].blocked == BLOCK
    else:
        assert left == text
        assert outlet.blocked is None


@settings(max_examples=300, deadline=None)
@given(cut_text())
def test_text_leaves_only_after_the_judge_saw_it(cut: tuple[str, list[str]]) -> None:
    text, deltas = cut
    seen: list[str] = []
    outlet = StreamFilter(lambda judged: (seen.append(judged), ALLOW)[1], 24, 5, 0)
    left = ""
    for delta in deltas:
        left += outlet.feed(delta)
        assert left == "".join(seen)
    assert left + outlet.finish() == text == "".join(seen)


@settings(max_examples=100, deadline=None)
@given(cut_text(), st.integers(0, 5), st.sampled_from([ValueError, OSError, TimeoutError]))
def test_a_judge_that_fails_closes_the_stream(
    cut: tuple[str, list[str]], when: int, error: type[Exception]
) -> None:
    _, deltas = cut
    seen: list[str] = []

    def judge(text: str) -> Verdict:
        if len(seen) == when:
            raise error(text)
        seen.append(text)
        return ALLOW

    outlet = StreamFilter(judge, 24, 5, 0)
    left = "".join([*map(outlet.feed, deltas), outlet.finish()])
    assert left == "".join(seen)
    if outlet.blocked:
        assert (outlet.blocked.action, outlet.blocked.category) == ("block", "unverified")
        assert not outlet.blocked.verified


def test_an_interrupted_judge_leaves_the_stream_closed() -> None:
    def judge(text: str) -> Verdict:
        raise KeyboardInterrupt

    outlet = StreamFilter(judge)
    with pytest.raises(KeyboardInterrupt):
        outlet.feed("This sentence is long enough. And another one follows here.")
    assert outlet.feed("More of it follows, and more still. ") + outlet.finish() == ""


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("One is here. Two is here. ", ["One is here. ", "Two is here. "]),
        ("He said it (now.) Then left", ["He said it (now.) ", "Then left"]),
        ("猫は好きです。犬も好きです。", ["猫は好きです。", "犬も好きです。"]),
        ("मैं घर जाता हूँ।वह आता है।", ["मैं घर जाता हूँ।", "वह आता है।"]),
        ("Pi is 3.14159 or so", ["Pi is 3.14159 or so"]),
        ("line one\nline two", ["line one\n", "line two"]),
        ("no end of words in this one at all", ["no end of words in this ", "one at all"]),
        ("n" * 30, ["n" * 24, "n" * 6]),
        ("No. I do. ", ["No. I do. "]),
    ],
)
def test_where_segments_end(text: str, segments: list[str]) -> None:
    assert filtered(list(text), context=0)[1] == segments


def test_the_judge_sees_what_left_before() -> None:
    judged = filtered(["First one here. Second one. Third"])[1]
    assert judged == [
        "First one here. ",
        "Second one. ",
        "e here. Second one. ",
        "Third",
        "nd one. Third",
    ]


def test_harm_that_two_segments_say_together_is_seen() -> None:
    outlet = StreamFilter(lambda text: BLOCK if "one. Two" in text else ALLOW, 24, 5, 8)
    assert outlet.feed("It is one. Two is it. ") == "It is one. "
    assert outlet.blocked == BLOCK


def test_after_a_block_nothing_leaves_any_more() -> None:
    outlet = StreamFilter(careful, 24, 5, 0)
    assert outlet.feed("All is well here. An X is bad. All is well again. ") == "All is well here. "
    assert outlet.feed("Quite harmless text. ") == ""
    assert outlet.finish() == ""
    assert outlet.blocked == BLOCK


def test_flagged_text_leaves() -> None:
    outlet = StreamFilter(lambda text: Verdict("flag", "harm", 0.9))
    assert outlet.feed("Flagged") + outlet.finish() == "Flagged"
    assert outlet.finish() == ""
