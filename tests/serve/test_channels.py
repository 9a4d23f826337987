"""What a model writes is sorted the same, however it was cut into tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_release.serve.channels import Form, Sorter

TOOLS = ("weather", "time")
TAGGED = Form("maybe", "tagged", TOOLS)
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oulu", "a": "}\\"{"}}\n</tool_call>'
ARGUMENTS = '{"city": "Oulu", "a": "}\\"{"}'


def read(form, *parts):
    """Return what was written on each channel: {(kind, index): (tool, text)}."""
    sorter = Sorter(form)
    written = [one for part in parts for one in sorter.push(part)] + sorter.finish()
    found: dict[tuple[str, int], tuple[str, str]] = {}
    for one in written:
        tool, text = found.get(key := (one.channel.kind, one.channel.index), ("", ""))
        found[key] = (tool + one.tool, text + one.text)
    return found


TEXT, THOUGHT, FIRST, SECOND = ("text", 0), ("reasoning", 0), ("tool", 0), ("tool", 1)

CASES = [
    (Form(), " <think>a</think>", {TEXT: ("", " <think>a</think>")}),
    (Form("maybe"), " hello ", {TEXT: ("", " hello ")}),
    (Form("maybe"), " <thin", {TEXT: ("", " <thin")}),
    (Form("maybe"), "\n<think>so</think>\n\nA", {THOUGHT: ("", "so"), TEXT: ("", "A")}),
    (Form("begun"), "so</think>A", {THOUGHT: ("", "so"), TEXT: ("", "A")}),
    (Form("begun"), "so</thi", {THOUGHT: ("", "so</thi")}),
    (TAGGED, "plain < text \n", {TEXT: ("", "plain < text \n")}),
    (TAGGED, f"Well. \n{CALL}", {TEXT: ("", "Well."), FIRST: ("weather", ARGUMENTS)}),
    (
        TAGGED,
        f"<think>hm</think>\n{CALL}\n{CALL.replace('weather', 'time')}\n",
        {THOUGHT: ("", "hm"), FIRST: ("weather", ARGUMENTS), SECOND: ("time", ARGUMENTS)},
    ),
    (
        TAGGED,
        '<tool_call>{"arguments": {"a": 1}, "name": "time"}</tool_call>',
        {FIRST: ("time", '{"a": 1}')},
    ),
    (TAGGED, '<tool_call>{"name": "time"}</tool_call>', {FIRST: ("time", "{}")}),
    (TAGGED, CALL.replace("weather", "rm"), {TEXT: ("", CALL.replace("weather", "rm"))}),
    (TAGGED, "<tool_call>[1</tool_call> x", {TEXT: ("", "<tool_call>[1</tool_call> x")}),
    (TAGGED, CALL[:60], {FIRST: ("weather", CALL[:60].partition('"arguments": ')[2])}),
    (
        Form("no", "array", TOOLS),
        '[{"name": "time", "parameters": {}}, {"name":"weather","parameters":{"a":[1]}}]',
        {FIRST: ("time", "{}"), SECOND: ("weather", '{"a":[1]}')},
    ),
    (Form("no", "array", TOOLS), "no array", {TEXT: ("", "no array")}),
    (Form("no", "named", ("time",)), '{"a": 1}', {FIRST: ("time", '{"a": 1}')}),
]


@pytest.mark.parametrize(("form", "text", "expected"), CASES)
def test_answers_are_sorted(form, text, expected):
    assert read(form, text) == expected


@given(case=st.sampled_from(CASES), data=st.data())
def test_cuts_do_not_matter(case, data):
    form, text, expected = case
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    ends = [0, *cuts, len(text)]
    parts = [text[start:end] for start, end in zip(ends, ends[1:], strict=False)]
    assert read(form, *parts) == expected


@given(st.text(alphabet='<>{}[]"\\ \n,:namethikool_c/argus', max_size=60), st.data())
def test_cuts_do_not_matter_in_any_text(text, data):
    for form in (TAGGED, Form("begun", "tagged", ("a",)), Form("no", "array", ("a",))):
        cut = data.draw(st.integers(0, len(text)))
        assert read(form, text[:cut], text[cut:]) == read(form, text)
