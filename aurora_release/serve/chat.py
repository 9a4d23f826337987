"""The chat page: Gradio on the same application, through the same guard as every route."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from aurora_release.serve import prompts
from aurora_release.serve.engines.protocol import GenerationRequest
from aurora_release.serve.generation import Ask, GuardedEngine, Piece
from aurora_release.serve.prompts import Message, Prompt
from aurora_release.serve.replies import ApiError

if TYPE_CHECKING:
    from fastapi import FastAPI

PATH = "/chat"

_BLOCKED = "*The safety filter blocked this"

EXAMPLES = (
    "How do I save a document as a PDF?",
    "Miten tallennan asiakirjan PDF-tiedostona?",
    "मैं किसी दस्तावेज़ को PDF के रूप में कैसे सहेजूँ?",
    "ドキュメントを PDF として保存するにはどうすればよいですか?",
    "Làm thế nào để lưu tài liệu dưới dạng PDF?",
)


class ChatPage:
    """Answers the page's messages."""

    def __init__(self, guarded: GuardedEngine):
        self._guarded = guarded

    async def answer(
        self, message: str, history: list[dict[str, Any]], temperature: float, max_tokens: int
    ) -> AsyncIterator[str]:
        """Yield the answer as far as it has come, each time longer."""
        turns = _kept(Message(turn["role"], _plain(turn["content"])) for turn in history)
        shown = ""
        try:
            prompt, room = self._prompt([*turns, Message("user", message)], int(max_tokens))
            request = GenerationRequest(prompt.ids, room, temperature=temperature, top_p=0.95)
            answers = await self._guarded.open([Ask(request, prompt.judged)])
            async with aclosing(answers):
                async for piece in answers:
                    shown = _notice(piece) if piece.blocked else shown + piece.text
                    yield shown
        except ApiError as error:
            yield f"{shown}\n\n*{error.message}*".strip()

    def _prompt(self, turns: list[Message], wanted: int) -> tuple[Prompt, int]:
        """Return the prompt of as many of the latest turns as leave room, and the room left.

        Raises:
            ApiError: not even the last turn fits.
        """
        engine = self._guarded.engine
        wanted = min(wanted, engine.facts.max_total_tokens // 2)
        for first in range(len(turns)):
            with suppress(ApiError):
                prompt = prompts.of_messages(engine, turns[first:])
                if prompts.room(engine, prompt, None, "max_tokens") >= wanted:
                    return prompt, wanted
        prompt = prompts.of_messages(engine, turns[-1:])
        return prompt, prompts.room(engine, prompt, None, "max_tokens")


def mount(app: "FastAPI", guarded: GuardedEngine) -> Callable[[], None]:
    """Put the page on `app` at /chat; it calls nothing outside.

    Returns what lets go of open pages: each keeps a connection, and the server waits for them.
    """
    # where no event loop runs, Gradio makes loops that it never closes
    return asyncio.run(_mount(app, guarded))


async def _mount(app: "FastAPI", guarded: GuardedEngine) -> Callable[[], None]:
    import gradio

    # after every message, Gradio 6.31 asks pandas for two things that pandas 3 gave up
    warnings.filterwarnings("ignore", ".*(no_silent_downcasting|copy keyword is deprecated).*")

    model = guarded.engine.facts.id
    page = gradio.ChatInterface(
        ChatPage(guarded).answer,
        title=model,
        description="Every question and every answer passes the safety filter.",
        # no share button: it would send the conversation to a service outside
        chatbot=gradio.Chatbot(
            height="60vh",
            label=model,
            allow_tags=False,
            sanitize_html=True,
            buttons=["copy", "copy_all"],
        ),
        examples=[[text] for text in EXAMPLES],
        additional_inputs=[
            gradio.Slider(0, 2, value=0.7, step=0.05, label="Temperature", render=False),
            gradio.Slider(1, 1024, value=256, step=1, label="Longest answer, tokens", render=False),
        ],
        additional_inputs_accordion=gradio.Accordion("Sampling", open=False, render=False),
        cache_examples=False,
        analytics_enabled=False,
        concurrency_limit=None,
        api_visibility="private",
    )
    gradio.mount_gradio_app(
        app,
        page,
        path=PATH,
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        show_error=False,
        enable_monitoring=False,
    )
    mounted: Any = app.routes[-1]
    let_go: Callable[[], None] = mounted.app.stop_event.set
    return let_go


def _notice(piece: Piece) -> str:
    """Return what stands in place of a blocked answer: the refusal, and that it is one."""
    assert piece.blocked is not None
    category = piece.blocked.category or "policy"
    what = "question" if piece.generated_tokens == 0 else "answer"
    return f"{piece.text}\n\n{_BLOCKED} {what} ({category}).*"


def _kept(turns: Iterable[Message]) -> list[Message]:
    """Return a conversation without the questions that were blocked, and without their notices.

    The guard judges the whole conversation: one blocked question would block all that follow.
    """
    kept: list[Message] = []
    for turn in turns:
        if turn.role == "assistant" and _BLOCKED in turn.content:
            kept = kept[:-1]
        else:
            kept.append(turn)
    return kept


def _plain(content: Any) -> str:
    """Return the text of a turn, which Gradio gives as a string or as a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
