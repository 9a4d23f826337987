"""The chat page: Gradio on the same application, through the same guard as every route."""

import asyncio
import warnings
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aurora_release import blocks
from aurora_release.safety.taxonomy import LANGUAGES
from aurora_release.serve import callers
from aurora_release.serve.callers import Caller
from aurora_release.serve.chat import history as histories
from aurora_release.serve.chat.history import Entry
from aurora_release.serve.chat.look import GREET, HEAD, RETURN, SPEAK, STYLE, TURN_LIGHT
from aurora_release.serve.chat.talk import LocalTalker, Sampling
from aurora_release.serve.chat.words import EXAMPLES, NAMES, word
from aurora_release.serve.generation import GuardedEngine

if TYPE_CHECKING:
    from fastapi import FastAPI

PATH = "/chat"

_NOTHING = ""
"""Chosen to be compared with: no model."""


@dataclass(frozen=True)
class Choices:
    """What the controls of the page say."""

    language: str
    model: str
    other: str
    system: str | None
    temperature: float
    top_p: float
    max_tokens: float
    repetition_penalty: float
    seed: str | None

    @property
    def sampling(self) -> Sampling:
        """How the next answers are generated."""
        return Sampling(
            temperature=min(max(self.temperature, 0.0), 2.0),
            top_p=min(max(self.top_p, 0.01), 1.0),
            max_tokens=max(int(self.max_tokens), 1),
            repetition_penalty=min(max(self.repetition_penalty, 0.1), 10.0),
            seed=int(self.seed) % 2**63 if self.seed and self.seed.isdecimal() else None,
        )


class ChatPage:
    """The page over one or several models; what is said stays in the browser."""

    def __init__(self, models: Sequence[GuardedEngine], logs: bool = False):
        """`logs`: the log has a line for each answer."""
        import gradio

        talkers = [LocalTalker(model, PATH, logs) for model in models]
        self._talkers = {talker.name: talker for talker in talkers}
        self._mode = models[0].mode
        self._words: list[tuple[Any, dict[str, str]]] = []
        """Which parts of the page say what, to be said in another language."""
        with gradio.Blocks(title=", ".join(self._talkers), analytics_enabled=False) as self.blocks:
            self._build_top()
            self._build_columns()
            self._build_composer()
            self._build_settings()
            self._listen()

    def _said(self, component: Any, **keys: str) -> Any:
        """Let a part of the page be said again when the language changes."""
        self._words.append((component, keys))
        return component

    def _build_top(self) -> None:
        import gradio

        names = list(self._talkers)
        several = len(names) > 1
        with gradio.Row(elem_id="top"):
            gradio.Markdown(f"# {names[0] if not several else 'Aurora'}", elem_id="title")
            self._language = self._said(
                gradio.Dropdown(
                    list(zip(NAMES, LANGUAGES, strict=True)),
                    value=LANGUAGES[0],
                    label=word("en", "language"),
                    elem_id="language",
                    min_width=120,
                    filterable=False,
                ),
                label="language",
            )
            self._theme = self._said(
                gradio.Button(word("en", "theme"), elem_id="theme", size="md", min_width=120),
                value="theme",
            )
        self._said(gradio.Markdown(word("en", f"mode_{self._mode}")), value=f"mode_{self._mode}")
        with gradio.Row(visible=several):
            self._model = self._said(
                gradio.Dropdown(
                    names, value=names[0], label=word("en", "model"), elem_id="model",
                    filterable=False,
                ),
                label="model",
            )  # fmt: skip
            self._other = self._said(
                gradio.Dropdown(
                    self._others("en"), value=_NOTHING, label=word("en", "compare"),
                    elem_id="compare", filterable=False,
                ),
                label="compare",
            )  # fmt: skip

    def _others(self, language: str) -> list[tuple[str, str]]:
        return [(word(language, "nothing"), _NOTHING), *((name, name) for name in self._talkers)]

    def _build_columns(self) -> None:
        import gradio

        with gradio.Row(elem_id="columns"):
            self._left, self._right = (
                gradio.Chatbot(
                    label=next(iter(self._talkers)),
                    elem_id=side,
                    visible=side == "left",
                    height=None,
                    min_width=300,
                    allow_tags=False,
                    sanitize_html=True,
                    editable="user" if side == "left" else None,
                    # no share button: it would send the conversation to a service outside
                    buttons=["copy", "copy_all"],
                )
                for side in ("left", "right")
            )

    def _build_composer(self) -> None:
        import gradio

        with gradio.Row(elem_id="examples"):
            self._examples = [gradio.Button(text, size="sm", min_width=220) for text in EXAMPLES]
        with gradio.Row(elem_id="composer"):
            self._box = self._said(
                gradio.Textbox(
                    label=word("en", "message"),
                    placeholder=word("en", "keys"),
                    elem_id="message",
                    lines=1,
                    max_lines=8,
                    scale=8,
                    min_width=240,
                    autofocus=True,
                ),
                label="message",
                placeholder="keys",
            )
            self._send, self._stop = (
                self._said(
                    gradio.Button(
                        word("en", name), variant=kind, visible=name == "send", elem_id=name,
                        min_width=90,
                    ),
                    value=name,
                )
                for name, kind in (("send", "primary"), ("stop", "stop"))
            )  # fmt: skip

    def _build_settings(self) -> None:
        import gradio

        accordion = gradio.Accordion(word("en", "settings"), open=False, elem_id="settings")
        with self._said(accordion, label="settings"):
            self._system = self._said(
                gradio.Textbox(
                    label=word("en", "system"), info=word("en", "system_info"), lines=2,
                    elem_id="system",
                ),
                label="system",
                info="system_info",
            )  # fmt: skip
            with gradio.Row():
                self._sliders = [
                    self._said(
                        gradio.Slider(
                            low, high, value=usual, step=step, label=word("en", name),
                            elem_id=name, min_width=220,
                        ),
                        label=name,
                    )
                    for name, low, high, usual, step in (
                        ("temperature", 0, 2, 0.7, 0.05),
                        ("top_p", 0.05, 1, 0.95, 0.05),
                        ("max_tokens", 1, 1024, 256, 1),
                        ("repetition_penalty", 1, 2, 1, 0.05),
                    )
                ]  # fmt: skip
                self._seed = self._said(
                    # not a Number: an empty one says 0
                    gradio.Textbox(
                        label=word("en", "seed"), info=word("en", "seed_info"), max_length=18,
                        elem_id="seed", min_width=220,
                    ),
                    label="seed",
                    info="seed_info",
                )  # fmt: skip
        self._new = self._said(gradio.Button(word("en", "new"), elem_id="new"), value="new")

    def _listen(self) -> None:
        """Say what happens when somebody does something."""
        import gradio

        async def edit(
            event: gradio.EditData, left: Any, right: Any, *values: Any
        ) -> AsyncGenerator[Any]:
            place = event.index if isinstance(event.index, int) else event.index[0]
            changed = self.edit(place, str(event.value), left, right, values)
            async with aclosing(changed) as updates:
                async for update in updates:
                    yield update

        controls = [
            self._language, self._model, self._other, self._system, *self._sliders, self._seed,
        ]  # fmt: skip
        columns = [self._left, self._right]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        long: dict[str, Any] = {
            **quiet,
            "outputs": [self._box, *columns, self._send, self._stop],
            "concurrency_limit": None,
            "trigger_mode": "once",
        }
        sends = [self._box.submit, self._send.click]
        answering = [
            gradio.on(sends, self.ask, [self._box, *columns, *controls], **long),
            *(
                example.click(self.ask, [example, *columns, *controls], **long)
                for example in self._examples
            ),
            self._left.retry(self.retry, [*columns, *controls], **long),
            self._left.edit(edit, [*columns, *controls], **long),
        ]
        short: dict[str, Any] = {**quiet, "queue": False}
        # the note comes after the end, or what was still on its way would take its place
        self._stop.click(None, cancels=answering).then(
            self.stop, [*columns, self._language], [*columns, self._send, self._stop], **short
        )
        self._left.undo(self.undo, columns, [self._box, *columns], **short)
        for clears in (self._new.click, self._left.clear):
            clears(lambda: ([], [], ""), None, [*columns, self._box], **short)
        self._model.change(lambda name: gradio.update(label=name), self._model, self._left, **short)
        self._other.change(self.compare, self._other, self._right, **short)
        said = [component for component, _ in self._words]
        self._language.change(self.speak, self._language, said, js=SPEAK, **short)
        self._theme.click(None, js=TURN_LIGHT)
        going = [self._send, self._stop, self._new, *self._examples]
        gradio.on([button.click for button in going], None, js=RETURN)
        self.blocks.load(None, None, self._language, js=GREET)

    async def ask(
        self, text: str | None, left: Any, right: Any, *values: Any
    ) -> AsyncGenerator[Any]:
        """Answer what was written."""
        if not text or not text.strip():
            return
        yield {self._box: ""}
        columns = histories.asking(left, text), histories.asking(right, text)
        async with aclosing(self._run(*columns, Choices(*values))) as updates:
            async for update in updates:
                yield update

    async def retry(self, left: Any, right: Any, *values: Any) -> AsyncGenerator[Any]:
        """Answer the last question again."""
        columns = histories.through(left), histories.through(right)
        async with aclosing(self._run(*columns, Choices(*values))) as updates:
            async for update in updates:
                yield update

    async def edit(
        self, place: int, text: str, left: Any, right: Any, values: Sequence[Any]
    ) -> AsyncGenerator[Any]:
        """Answer the question at `place` as it was changed; what came after it is gone."""
        later = histories.later(left, place)
        columns = (
            histories.asking(histories.through(left, later)[:-1], text),
            histories.asking(histories.through(right, later)[:-1], text),
        )
        async with aclosing(self._run(*columns, Choices(*values))) as updates:
            async for update in updates:
                yield update

    async def _run(
        self, left: list[Entry], right: list[Entry], choices: Choices
    ) -> AsyncGenerator[Any]:
        """Yield what changes on the page while one model answers, or two with the same seed."""
        from gradio import update

        sides = [(self._left, choices.model, left)]
        if choices.other:
            sides.append((self._right, choices.other, right))
        columns = [column for column, _, _ in sides]
        asked = [history for _, _, history in sides]
        sampling = choices.sampling.seeded()
        yield {
            **dict(zip(columns, asked, strict=True)),
            self._send: update(visible=False),
            self._stop: update(visible=True),
        }
        callers.enter(_caller())  # whose limits count
        sources = [self._answer(name, history, sampling, choices) for _, name, history in sides]
        async with aclosing(histories.together(sources, asked)) as states:
            async for state in states:
                yield dict(zip(columns, state, strict=True))
        yield {self._send: update(visible=True), self._stop: update(visible=False)}

    async def _answer(
        self, name: str, asked: list[Entry], sampling: Sampling, choices: Choices
    ) -> AsyncGenerator[list[Entry]]:
        """Yield one column as its answer grows."""
        turns = histories.turns(asked, choices.system or "")
        async with aclosing(self._talkers[name].answer(turns, sampling)) as growing:
            async for now in growing:
                yield histories.answered(asked, now, choices.language)

    def stop(self, left: Any, right: Any, language: str) -> tuple[Any, ...]:
        """Say that an answer was stopped; Gradio closes what made it."""
        from gradio import update

        said = (histories.stopped(column, language) for column in (left, right))
        return (*said, update(visible=True), update(visible=False))

    def undo(self, left: Any, right: Any) -> tuple[str, list[Entry], list[Entry]]:
        """Take the last question back into the box."""
        asked, other = histories.through(left), histories.through(right)
        return histories.plain(asked[-1]["content"]), asked[:-1], other[:-1]

    def compare(self, other: str) -> Any:
        """Show the second column, empty, or hide it."""
        from gradio import update

        return update(visible=other != _NOTHING, label=other, value=[])

    def speak(self, language: str) -> dict[Any, Any]:
        """Say everything on the page in a language."""
        from gradio import update

        said = {
            component: update(**{name: word(language, key) for name, key in keys.items()})
            for component, keys in self._words
        }
        said[self._other]["choices"] = self._others(language)
        return said


def mount(app: "FastAPI", models: Sequence[GuardedEngine], logs: bool) -> Callable[[], None]:
    """Put the page on `app` at /chat; it calls nothing outside. `logs`: as for `ChatPage`.

    Returns what lets go of open pages: each keeps a connection, and the server waits for them.
    """
    # where no event loop runs, Gradio makes loops that it never closes
    return asyncio.run(_mount(app, models, logs))


async def _mount(app: "FastAPI", models: Sequence[GuardedEngine], logs: bool) -> Callable[[], None]:
    # after every message, Gradio 6.31 asks pandas for two things that pandas 3 gave up
    warnings.filterwarnings("ignore", ".*(no_silent_downcasting|copy keyword is deprecated).*")
    return blocks.mount(app, ChatPage(models, logs).blocks, PATH, STYLE, HEAD)


def _caller() -> Caller:
    """Return who sent the request that an event of the page came by."""
    from gradio.context import LocalContext

    event = LocalContext.request.get(None)
    sent = None if event is None else event.request
    found = None if sent is None else sent.scope.get("state", {}).get("caller")
    return found if isinstance(found, Caller) else Caller("")
