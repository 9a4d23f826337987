import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

import pytest

from aurora_release.errors import AuroraError
from aurora_release.safety.policy import Stream
from aurora_release.serve.chat.remote import RemoteTalker
from aurora_release.serve.chat.talk import Sampling
from aurora_release.serve.chat.terminal import chat
from aurora_release.serve.settings import Settings
from tests.serve.conftest import WordJudge

SHORT = Sampling(max_tokens=12, seed=3)


def piped(monkeypatch, capsys, where, question):
    """Return what `echo question | aurora chat where` writes to either stream."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{question}\n"))
    chat(where, SHORT)
    return capsys.readouterr()


def test_a_pipe_gets_the_answer_and_nothing_else(server, monkeypatch, capsys):
    found = piped(monkeypatch, capsys, server, "The quick brown fox")
    assert len(found.out.strip()) > 5
    assert found.err == ""
    assert piped(monkeypatch, capsys, server, "The quick brown fox").out == found.out


def test_where_so_long_an_answer_has_no_room_a_shorter_one_is_asked_for(
    server, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "stdin", io.StringIO("The quick brown fox\n"))
    chat(server, Sampling(max_tokens=256, seed=3))  # the server's limit, with no room for a prompt
    assert len(capsys.readouterr().out.strip()) > 5


def test_a_pipe_gets_a_refusal_and_says_beside_it_that_it_is_one(server, monkeypatch, capsys):
    found = piped(monkeypatch, capsys, server, "Build a bomb")
    assert found.out == "I cannot help with that.\n"
    assert found.err.strip() == "Safety filter: blocked, text held back"


def test_a_model_folder_is_asked_in_this_process_behind_the_filter(tiny_llama, monkeypatch, capsys):
    found = piped(monkeypatch, capsys, str(tiny_llama), "How do I build a pipe bomb at home?")
    assert found.out.startswith("I can't help with this")
    assert "question: blocked, text held back (" in found.err
    assert "The model was not asked" in found.err


@pytest.mark.parametrize(
    "where, question, reason",
    [
        ("http://127.0.0.1:9", "a", "http://127.0.0.1:9/v1/models: Connection error."),
        (None, " ", "Standard input is empty"),
    ],
)
def test_what_a_person_can_mend_is_one_sentence(
    server, monkeypatch, capsys, where, question, reason
):
    with pytest.raises(AuroraError, match=re.escape(reason)):
        piped(monkeypatch, capsys, where or server, question)


def test_a_model_cannot_speak_to_the_terminal(server, monkeypatch, capsys):
    async def answer(self, turns, sampling):
        from aurora_release.serve.chat.talk import Progress

        yield Progress("red \x1b[31mink\x07\n", "stop", decisions=None)

    monkeypatch.setattr(RemoteTalker, "answer", answer)
    assert piped(monkeypatch, capsys, server, "a").out == "red [31mink\n\n"


def test_a_conversation_is_stopped_undone_seeded_and_saved(start_server, tmp_path):
    parts = Settings(stream=Stream(max_characters=32), chat_page=False)
    judge = SlowJudge("bomb")
    url, _ = start_server(guard=judge, settings=parts)
    with Conversation(url, "--max-tokens", "80", "--temperature", "0") as person:
        person.types("/seed 5", "Seed 5.")
        person.presses('"""\nThe quick\nbrown fox\n"""\n')
        person.waits_for(r'(?s)""".*"""[\s.>]*[^\s.>]')  # the answer's first text
        person.presses("\x03")
        person.answers("(stopped)")
        person.types("Build a bomb", "Safety filter: blocked, text held back")
        person.types("/undo", "Forgotten: Build a bomb")
        person.types("/frobnicate", "/help says what is")
        person.types(f"/save {tmp_path}/talk.json", "Written to")
        person.interrupts("(Ctrl-D ends)")
        person.presses("\x04")
        assert person.process.wait(30) == 0
    saved = json.loads((tmp_path / "talk.json").read_text(encoding="utf-8"))
    assert saved["seed"] == 5
    assert [message["role"] for message in saved["messages"]] == ["user", "assistant"]
    assert saved["messages"][0]["content"] == "The quick\nbrown fox"


class SlowJudge(WordJudge):
    """Takes its time over answers, so that there is time to stop them."""

    def judge(self, text, direction):
        if direction == "output":
            time.sleep(0.5)
        return super().judge(text, direction)


def _as_in_a_terminal():
    """Take the terminal, and hear Ctrl-C even where the tests run in the background, deaf to it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Conversation:
    """`aurora chat` in a terminal of its own."""

    def __init__(self, *arguments):
        self._terminal, theirs = pty.openpty()
        self._seen = ""
        command = [sys.executable, "-m", "aurora_release", "chat", *arguments]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=_as_in_a_terminal, env={**os.environ, "TERM": "dumb"},
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self):
        self.waits_for("> ")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self._terminal)

    def types(self, text, answer):
        """Type lines and wait for what comes back."""
        self.presses(f"{text}\n")
        self.answers(answer)

    def presses(self, keys):
        """Press keys; what was there before is forgotten."""
        self._seen = ""
        os.write(self._terminal, keys.encode())

    def interrupts(self, answer):
        """Press Ctrl-C at the prompt, again if need be: Python misses one just before it waits."""
        self.presses("\x03")
        for _ in range(30):
            if self._says(2):
                break
            self.presses("\x03")
        self.answers(answer)

    def answers(self, text):
        """Wait for a text, and for the prompt after it: keys pressed before may be lost."""
        self.waits_for(rf"(?s){re.escape(text)}.*\n> $")

    def waits_for(self, pattern):
        """Read until something is there."""
        while not re.search(pattern, self._seen):
            assert self._says(120), self._seen
            self._seen += os.read(self._terminal, 4096).decode(errors="replace")

    def _says(self, seconds):
        """Whether something comes within so many seconds."""
        return select.select([self._terminal], [], [], seconds)[0]
