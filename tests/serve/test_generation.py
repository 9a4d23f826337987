"""What leaves a guarded engine was judged: text, tokens and notices, whatever happens to judges."""

import asyncio
import json
import sys
import threading
import time
from contextlib import aclosing
from contextvars import copy_context
from dataclasses import replace

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aurora_release.safety.guard import Verdict
from aurora_release.safety.policy import Stream
from aurora_release.serve import callers
from aurora_release.serve.audit import AuditLog
from aurora_release.serve.callers import Caller
from aurora_release.serve.channels import Form
from aurora_release.serve.engines.protocol import (
    Delta,
    EngineError,
    EngineStats,
    GenerationRequest,
    ModelFacts,
    Token,
)
from aurora_release.serve.generation import Ask, GuardedEngine, Piece
from aurora_release.serve.settings import Settings

HARM = "X☠害"
REFUSAL, NOTICE = "I cannot.", "[removed]"
SIZES = {"max_characters": 24, "min_characters": 4, "context_characters": 8}
ALLOW = Verdict("allow", language="en")


class ScriptedStream:
    """Stands in for an engine's stream: a model would not say what a test wants said."""

    def __init__(self, deltas, error):
        self._deltas, self._error = iter(deltas), error
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        try:
            return next(self._deltas)
        except StopIteration:
            if self._error:
                raise EngineError("gone") from None
            raise StopAsyncIteration from None

    async def aclose(self):
        self.closed = True


class ScriptedEngine:
    """Stands in for an engine: says the given tokens."""

    facts = ModelFacts("scripted", 256, 1000, "0" * 64, "float32")

    def __init__(self, texts, end=True):
        count = len(texts)
        self._end = end
        self.deltas = [
            Delta(text, Token(n, f"<{text}>", -1.0, False), self._ending(n, count), n)
            for n, text in enumerate(texts, 1)
        ]
        self.streams = []

    def _ending(self, number, count):
        return "eos" if self._end and number == count else None

    def generate(self, request):
        self.streams.append(ScriptedStream(self.deltas, error=not self._end))
        return self.streams[-1]

    def refusal(self):
        return None

    def stats(self):
        return EngineStats(True, 0, 0, 1)


class Unreliable:
    """Blocks harm; at one of its answers it is slow, fails, loses its connection or hangs."""

    def __init__(self, trouble=None, when=0):
        self._trouble, self._when = trouble, when
        self._asked = 0
        self._lock = threading.Lock()
        self.gate = threading.Event()

    def judge(self, text, direction):
        if direction == "input":
            return ALLOW
        with self._lock:
            self._asked += 1
            troubled = self._asked == self._when
        if troubled and self._trouble == "slow":
            time.sleep(0.005)
        if troubled and self._trouble == "hang":
            self.gate.wait()
        if troubled and self._trouble in ("fail", "disconnect"):
            raise ConnectionResetError if self._trouble == "disconnect" else ValueError(text)
        harmful = any(character in text for character in HARM)
        return Verdict("block", "harm", 0.9, language="en") if harmful else ALLOW

    def refusal(self, verdict):
        return REFUSAL


def answered(engine, judge, patience=10_000, form=Form(), **stream) -> list[Piece]:  # noqa: B008
    """Return the pieces of one answer, as many as the client waits for."""
    sizes = {**SIZES, "notices": {"en": NOTICE}, **stream}
    guarded = GuardedEngine(engine, judge, Settings(stream=Stream(**sizes)))

    async def read():
        request = GenerationRequest(prompt=(1,), max_new_tokens=99)
        answers = await guarded.open([Ask(request, ("hello",), form)])
        found = []
        async with aclosing(answers):
            async for piece in answers:
                found.append(piece)
                if len(found) >= patience:
                    break
        return found

    try:
        return asyncio.run(read())
    finally:
        guarded.close()


def said(pieces) -> str:
    return "".join(piece.text for piece in pieces if piece.blocked is None)


def test_whatever_happens_no_harm_leaves(capsys):
    """400 answers through the server's own path, in threads, with judges and clients in trouble."""
    tally = {"cases": 0, "leaks": 0}
    words = st.sampled_from(
        [*HARM, "Hi. ", "猫です。", " kissa", "है। ", "a", "", ". ", "\n", "🕱", "  "]
    )
    trouble = st.sampled_from([None, None, "slow", "fail", "disconnect", "hang"])

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(words, max_size=40),
        st.sampled_from(["block", "redact"]),
        trouble,
        st.integers(1, 6),
        st.integers(1, 60),
    )
    def cases(texts, mode, trouble, when, patience):
        judge = Unreliable(trouble, when)
        engine = ScriptedEngine([*texts, ""])
        timeout = 0.02 if trouble == "hang" else 30
        pieces = answered(engine, judge, patience, mode=mode, timeout_seconds=timeout)
        judge.gate.set()
        out = said(pieces) + "".join(token.text for piece in pieces for token in piece.tokens)
        tally["cases"] += 1
        tally["leaks"] += sum(character in HARM for character in out)
        assert all(stream.closed for stream in engine.streams)
        if trouble in (None, "slow") and not any(text in HARM for text in texts if text):
            assert "".join(texts).startswith(said(pieces))
            if pieces[-1].ending:
                assert said(pieces) == "".join(texts)
                assert sum(len(piece.tokens) for piece in pieces) == len(texts) + 1
        for piece in pieces[:-1]:
            assert piece.ending is None

    cases()
    with capsys.disabled():
        sys.stdout.write(f"\nserved: {tally}\n")
    assert tally["cases"] >= 400
    assert tally["leaks"] == 0


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2), st.integers(1, 9), st.sampled_from(["block", "redact"]))
def test_no_harm_leaves_in_reasoning_or_in_what_a_tool_is_called_with(place, size, mode):
    harm = ["", "", ""]
    harm[place] = "\\u2620" if place == 2 else "☠"
    call = f'{{"name": "say", "arguments": {{"a": "so {harm[2]} it is"}}}}'
    text = f"<think>I know. {harm[0]} Yes.</think>Well. {harm[1]} So. <tool_call>{call}</tool_call>"
    engine = ScriptedEngine([text[at : at + size] for at in range(0, len(text), size)])
    form = Form("maybe", "tagged", ("say",))
    pieces = answered(engine, Unreliable(), form=form, mode=mode)
    assert not any(character in said(pieces) for character in [*HARM, "2620"])
    blocked = mode == "block" or place == 2
    assert (pieces[-1].blocked is not None) == blocked
    if not blocked:
        assert [piece.tool for piece in pieces if piece.tool] == ["say"]


def test_a_hanging_judge_ends_the_answer_with_the_refusal():
    judge = Unreliable("hang", 2)
    pieces = answered(ScriptedEngine(["One here. ", "Two here. ", "Three."]), judge,
                      timeout_seconds=0.05)  # fmt: skip
    judge.gate.set()
    assert said(pieces) == "One here. "
    assert (pieces[-1].text, pieces[-1].blocked.verified) == (REFUSAL, False)


def test_an_engine_that_fails_does_not_flush_what_is_held():
    judge = Unreliable()
    with pytest.raises(Exception, match="gone"):
        answered(ScriptedEngine(["One here. ", "not judged"], end=False), judge)


def test_an_answer_that_failed_is_counted_for_the_log():
    caller = Caller("mine")

    def ask():
        callers.enter(caller)
        answered(ScriptedEngine(["One here. ", "not judged"], end=False), Unreliable())

    with pytest.raises(Exception, match="gone"):
        copy_context().run(ask)
    assert (caller.failed, caller.blocked) == (1, 0)


def test_redaction_takes_the_tokens_with_it():
    texts = ["Fine", " one", ". Bad", " X", " it", " is. Go", "od one", " too.", ""]
    pieces = answered(ScriptedEngine(texts), Unreliable(), mode="redact")
    assert said(pieces) == f"Fine one. {NOTICE} Good one too."
    tokens = [token for piece in pieces for token in piece.tokens]
    # the third and the sixth token are partly redacted: their other part leaves without them
    assert [token.id for token in tokens] == [1, 2, 7, 8, 9]
    assert [token.text for token in tokens] == ["Fine", " one", "od one", " too.", ""]
    assert [piece.ending for piece in pieces if piece.ending] == ["eos"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("off", "A fine one. An X here. And more."),
        ("flag", "A fine one. An X here. And more."),
        ("redact", f"A fine one. {NOTICE} And more."),
        ("block", "A fine one. "),
    ],
)
def test_what_each_mode_lets_out(mode, expected):
    pieces = answered(ScriptedEngine(["A fine one. ", "An X here. ", "And more."]), Unreliable(),
                      mode=mode)  # fmt: skip
    assert said(pieces) == expected
    assert (pieces[-1].blocked is not None) == (mode == "block")


def test_off_asks_the_judge_nothing():
    judge = Unreliable("fail", 1)
    pieces = answered(ScriptedEngine(["So", "me X"]), judge, mode="off")
    assert [piece.text for piece in pieces] == ["So", "me X"]


@pytest.mark.parametrize(("asked", "answered_in"), [("fi", "fi"), ("und", "en")])
def test_a_refusal_has_the_language_of_the_question_where_that_is_known(asked, answered_in):
    class Speaking(Unreliable):
        def judge(self, text, direction):
            found = super().judge(text, direction)
            return replace(found, language=asked) if direction == "input" else found

        def refusal(self, verdict):
            return verdict.language

    pieces = answered(ScriptedEngine(["An X here. "]), Speaking())
    assert pieces[-1].text.strip() == answered_in


def test_every_decision_is_counted_and_audited(tmp_path):
    path = tmp_path / "audit.jsonl"
    engine = ScriptedEngine(["A fine one. ", "An X here. ", "And more."])
    options = Settings(stream=Stream(**SIZES), audit_log=AuditLog(path, "feed"))
    guarded = GuardedEngine(engine, Unreliable(), options)

    async def read():
        request = GenerationRequest(prompt=(1,), max_new_tokens=99)
        async with aclosing(await guarded.open([Ask(request, ("hello",))], "cmpl-9")) as answers:
            return [piece async for piece in answers]

    asyncio.run(read())
    guarded.close()
    lines = [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    assert [(line["direction"], line["action"], line["position"]) for line in lines] == [
        ("input", "allow", 0),
        ("output", "allow", 0),
        ("output", "block", 12),
    ]
    assert {(line["request"], line["policy"]) for line in lines} == {("cmpl-9", "feed")}
    assert not any(word in path.read_text(encoding="ascii") for word in ("hello", "fine", " X "))
    page = guarded.metrics.page().decode()
    labels = 'action="block",category="harm",channel="text",direction="output"'
    assert f"aurora_filter_decisions_total{{{labels}}} 1.0" in page
    assert 'aurora_filter_judging_seconds_count{direction="output"} 2.0' in page


class Redacting(Unreliable):
    """Blocks the letters of the tiny model's own answer that the test names."""

    def __init__(self, word):
        super().__init__()
        self._word = word

    def judge(self, text, direction):
        harmful = direction == "output" and self._word in text
        return Verdict("block" if harmful else "allow", "harm", 0.9, language="en")


def test_both_protocols_show_the_notice_and_go_on(start_server, slots_are_freed):
    request = {"inputs": "The dog", "parameters": {"max_new_tokens": 60, "details": True}}
    stream = Stream(mode="redact", notices={"en": NOTICE}, **SIZES)
    url, _ = start_server(settings=Settings(chat_page=False))
    whole = httpx.post(f"{url}/generate", json=request).json()["generated_text"]
    middle = len(whole) // 2
    word = whole[middle : middle + 4]
    judge = Redacting(word)
    url, engine = start_server(guard=judge, settings=Settings(chat_page=False, stream=stream))
    answer = httpx.post(f"{url}/generate", json=request).json()
    events = httpx.post(f"{url}/generate_stream", json=request).text.split("\n\n")[:-1]
    said = [json.loads(event.removeprefix("data:")) for event in events]
    assert NOTICE in answer["generated_text"] and word not in answer["generated_text"]
    assert answer["generated_text"].endswith(whole[-5:])
    assert answer["details"]["finish_reason"] == "length"
    assert word not in "".join(token["text"] for token in answer["details"]["tokens"])
    assert "".join(one["token"]["text"] for one in said) == answer["generated_text"]
    assert said[-1]["generated_text"] == answer["generated_text"]
    body = {"model": "x", "prompt": "The dog", "max_tokens": 60, "temperature": 0, "logprobs": 1}
    choice = httpx.post(f"{url}/v1/completions", json=body).json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == (answer["generated_text"], "length")
    assert word not in "".join(choice["logprobs"]["tokens"])
    assert slots_are_freed(engine)
