"""`aurora chat`: a conversation in the terminal, or one answer in a pipe."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, redirect_stdout, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from aurora_release import atomic, download
from aurora_release.errors import AuroraError
from aurora_release.serve.chat.notes import Note, note
from aurora_release.serve.chat.remote import RemoteTalker
from aurora_release.serve.chat.talk import LocalTalker, Progress, Sampling, Talker
from aurora_release.serve.prompts import Message
from aurora_release.shipped import shipped

log = logging.getLogger(__name__)

HELP = (
    r"""/system TEXT   set the system prompt; without TEXT, take it away
/retry         answer the last question again
/undo          forget the last question and its answer
/seed N        the seed of the answers that follow; without N, a new one for each
/save FILE     write the conversation as JSON
/help          this
Ctrl-C stops an answer, Ctrl-D or /exit ends. A line that ends in \ goes on in the next one;
lines between two lines of """
    + '""" are one message.'
)

_FENCE = '"""'
_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""What a model writes must not move the cursor, nor speak to the terminal in any other way."""


@dataclass
class Exchange:
    """A question and what came back."""

    question: str
    answer: Progress = Progress()


def chat(
    where: str,
    sampling: Sampling,
    *,
    system: str = "",
    policy: Path | None = None,
    name: str | None = None,
    key: str | None = None,
) -> None:
    """Talk with the model in the folder or behind the URL `where`, until the input ends.

    Raises:
        AuroraError: the model or the policy cannot be read, the server cannot be reached, or, in a
            pipe, there is no answer.
    """
    with asyncio.Runner() as runner, _opened(where, policy, name, key, runner) as talker:
        terminal = Terminal(talker, runner, sampling, system)
        if sys.stdin.isatty():
            terminal.talk()
        else:
            terminal.answer(sys.stdin.read())


class Terminal:
    """One conversation: answers go to standard output, everything else to standard error."""

    def __init__(self, talker: Talker, runner: asyncio.Runner, sampling: Sampling, system: str):
        from rich.console import Console

        self._talker = talker
        self._runner = runner
        self._sampling = sampling
        self._system = system
        self._said: list[Exchange] = []
        self._aside = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def answer(self, question: str) -> None:
        """Answer one question; only the answer goes to standard output.

        Raises:
            AuroraError: there is no question, or no answer.
        """
        if not question.strip():
            raise AuroraError("Standard input is empty: echo a question | aurora chat MODEL")
        now = self._ask(question.strip())
        if now.error is not None:
            raise AuroraError(f"No answer: {now.error}")
        found = note(now, "en")
        if found.alarming:
            self._aside.print(_alarm(found))

    def talk(self) -> None:
        """Read, answer and obey until the input ends."""
        with suppress(ImportError):
            import readline  # noqa: F401  (gives `input` a history and keys to edit with)
        self._aside.print(f"{self._talker.name}   /help says what else can be done", style="bold")
        while True:
            try:
                self._take(_read())
            except KeyboardInterrupt:
                self._aside.print("\n(Ctrl-D ends)", style="dim")
            except EOFError:
                self._aside.print()
                return

    def _take(self, text: str) -> None:
        """Obey a command, or answer a question."""
        if text.startswith("/"):
            self._obey(*text.partition(" ")[::2])
        elif text.strip():
            self._show(self._ask(text))

    def _obey(self, command: str, rest: str) -> None:
        """Do what a line that begins with / says."""
        rest = rest.strip()
        if command in ("/exit", "/quit"):
            raise EOFError
        known: dict[str, Callable[[str], str | None]] = {
            "/system": self._set_system,
            "/retry": self._retry,
            "/undo": self._undo,
            "/seed": self._set_seed,
            "/save": self._save,
            "/help": lambda _: HELP,
        }
        if command not in known:
            said: str | None = f"{command} is not known; /help says what is."
        else:
            said = known[command](rest)
        if said:
            self._aside.print(said, style="dim")

    def _set_system(self, text: str) -> str:
        self._system = text
        return "System prompt set." if text else "No system prompt."

    def _set_seed(self, text: str) -> str:
        if text and not text.isdecimal():
            return f"{text} is not a seed: it is a whole number from 0."
        seed = int(text) % 2**63 if text else None
        self._sampling = replace(self._sampling, seed=seed)
        return "A new seed for each answer." if seed is None else f"Seed {seed}."

    def _retry(self, _: str) -> str | None:
        if not self._said:
            return "There is nothing to answer again."
        self._show(self._ask(self._said.pop().question))
        return None

    def _undo(self, _: str) -> str:
        if not self._said:
            return "There is nothing to forget."
        return f"Forgotten: {self._said.pop().question}"

    def _save(self, text: str) -> str:
        path = Path(text).expanduser()
        if not text or path.exists():
            return f"{path} exists already." if text else "/save FILE: name a file."
        messages = [asdict(message) for message in self._turns()]
        content = {"model": self._talker.name, **asdict(self._sampling), "messages": messages}
        try:
            atomic.write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            return f"{path} cannot be written: {error.strerror}."
        return f"Written to {path}."

    def _ask(self, question: str) -> Progress:
        """Return the answer, which was written while it came; Ctrl-C ends it early."""
        exchange = Exchange(question)
        turns = [*self._turns(), Message("user", question)]
        self._said.append(exchange)
        try:
            self._runner.run(self._write(exchange, turns))
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            self._aside.print("\n(stopped)", style="dim")
        return exchange.answer

    async def _write(self, exchange: Exchange, turns: Sequence[Message]) -> None:
        """Write an answer to standard output as it grows."""
        written = ""
        async with aclosing(self._talker.answer(turns, self._sampling)) as growing:
            async for now in growing:
                exchange.answer = now
                if not now.text.startswith(written):  # a refusal takes the place of the answer
                    sys.stdout.write("\n\n")
                    written = ""
                sys.stdout.write(now.text[len(written) :].translate(_CONTROL))
                sys.stdout.flush()
                written = now.text
        sys.stdout.write("\n")
        sys.stdout.flush()

    def _show(self, now: Progress) -> None:
        """Say what the filter decided, loudly where it did something, and how fast it was."""
        if not now.ended:
            return
        found = note(now, "en")
        if found.alarming:
            self._aside.print(_alarm(found), style="bold red")
        else:
            self._aside.print(found.title, style="dim")

    def _turns(self) -> list[Message]:
        """Return the conversation as the model reads it, without what was blocked or failed."""
        turns = [Message("system", self._system)] if self._system else []
        for exchange in self._said:
            if exchange.answer.text and not exchange.answer.blocked:
                turns.append(Message("user", exchange.question))
                turns.append(Message("assistant", exchange.answer.text))
        return turns


def _alarm(found: Note) -> str:
    """Return a note as lines."""
    return "\n".join((found.title, *found.lines))


def _read() -> str:
    """Return the next message, of one line or of several."""
    line = input("> " if sys.stdout.isatty() else "")
    if line.strip() == _FENCE:
        return "\n".join(iter(input, _FENCE))
    lines = [line]
    while lines[-1].endswith("\\"):
        lines[-1] = lines[-1][:-1]
        lines.append(input())
    return "\n".join(lines)


@contextmanager
def _opened(
    where: str, policy: Path | None, name: str | None, key: str | None, runner: asyncio.Runner
) -> Iterator[Talker]:
    """Give whoever answers: a server, or an engine that runs in this process meanwhile."""
    if where.startswith(("http://", "https://")):
        if policy is not None:
            raise AuroraError(f"--policy is for a model folder: {where} has a filter of its own.")
        remote = RemoteTalker(where, name, key)
        try:
            runner.run(remote.connect())
            yield remote
        finally:
            runner.run(remote.close())
        return
    from aurora_release.safety.guard import Guard
    from aurora_release.serve.engines.choose import Choice, check, open_engine
    from aurora_release.serve.generation import GuardedEngine
    from aurora_release.serve.settings import Settings

    log.info("Reading %s", where)
    folder = download.model(where)
    check(folder, Choice())
    guard = Guard.load(policy or shipped("serve/policies/default.yaml"))
    with redirect_stdout(sys.stderr):  # whatever a library below prints
        engine = open_engine(folder, Choice())
    settings = Settings(stream=guard.policy.stream, fail_closed=guard.policy.fail_closed)
    guarded = GuardedEngine(engine, guard, settings)
    engine.start()
    try:
        yield LocalTalker(guarded)
    finally:
        engine.stop()
        guarded.close()
