"""The page of the review desk: Gradio, keyboard first, on this machine alone."""

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from aurora_release import blocks
from aurora_release.errors import AuroraError, missing_extra
from aurora_release.safety.desk.desk import Desk, Item, Progress, earlier, unseen
from aurora_release.safety.ledger import Record
from aurora_release.safety.ledger.record import Verdict
from aurora_release.safety.policy import Policy

if TYPE_CHECKING:
    import gradio
    from fastapi import FastAPI

_EVERY = "all"
_KEYS = """
<script>
const keys = {a: "accept", e: "edit", r: "reject", s: "skip", u: "undo"};
const press = (id) => {
    const button = document.getElementById(id);
    if (button && !button.disabled && button.offsetParent) button.click();
};
document.addEventListener("keydown", (event) => {
    const field = event.target;
    const writing = field.matches("textarea, input:not([type=radio]), [contenteditable=true]");
    if (event.key === "Escape") { if (writing) field.blur(); press("cancel"); return; }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { press("save"); return; }
    if (writing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "n") {
        event.preventDefault();
        document.querySelector("#note textarea")?.focus();
    } else if (keys[event.key]) {
        event.preventDefault();
        press(keys[event.key]);
    }
});
</script>
"""
_STYLE = """
button { padding-left: 6px !important; padding-right: 6px !important; white-space: nowrap; }
.gradio-container { max-width: 1200px !important; }
textarea:disabled { opacity: 1 !important; -webkit-text-fill-color: currentColor !important; }
#earlier textarea { font-family: monospace; }
"""
_DECISIONS: tuple[tuple[str, str, Literal["primary", "secondary", "stop"]], ...] = (
    ("Accept (a)", "accept", "primary"),
    ("Edit (e)", "edit", "secondary"),
    ("Reject (r)", "reject", "stop"),
    ("Skip (s)", "skip", "secondary"),
    ("Undo (u)", "undo", "secondary"),
)
_WANTED = {"harmful": "to be refused, with a safe next step", "benign": "to be answered helpfully"}
_LEGEND = (
    "Keys: **a** accept · **e** edit · **r** reject · **s** skip · **u** undo · **n** note · "
    "in a text box **Ctrl+Enter** saves the edit and **Esc** leaves the box. "
    "What others decided is shown after your own decision."
)


@dataclass(frozen=True)
class Session:
    """What one open page is doing."""

    item: Item | None = None
    language: str | None = None
    skipped: tuple[str, ...] = ()
    mine: tuple[Record, ...] = ()
    """Records of this page's decisions, the last of which can be undone."""
    editing: bool = False
    message: str = ""
    history: str = ""


class Page:
    """Answers the page's buttons; each method returns the session that follows."""

    def __init__(self, desk: Desk, policy: Policy):
        self.desk = desk
        self.policy = policy

    def start(self, language: str) -> Session:
        """Return a session at the first pair that waits."""
        return self._next(Session(language=None if language == _EVERY else language))

    def decide(
        self, session: Session, verdict: Verdict, prompt: str, response: str, note: str
    ) -> Session:
        """Record a verdict on the pair that the page shows, and go to the next one."""
        item = session.item
        if item is None or (verdict != "edit" and not _shows(item, prompt, response)):
            # a second key press that met the next pair: nobody has read that one yet
            return replace(session, editing=False)
        try:
            record = self.desk.decide(item, verdict, prompt, response, note)
        except AuroraError as error:
            return replace(session, message=str(error))
        done = f"{record.language}/{record.id}: {verdict}"
        after = replace(session, mine=(*session.mine, record), message=done, editing=False)
        return self._next(replace(after, history=earlier(record)))

    def skip(self, session: Session) -> Session:
        """Leave a pair for later, without a trace."""
        if session.item is None:
            return session
        skipped = (*session.skipped, _name(session.item.record))
        return self._next(replace(session, skipped=skipped, message="skipped", editing=False))

    def undo(self, session: Session) -> Session:
        """Take this page's last decision back and show its pair again."""
        if not session.mine:
            return replace(session, message="There is nothing of this page to undo.")
        try:
            item = self.desk.undo(session.mine[-1])
        except AuroraError as error:
            return replace(session, mine=session.mine[:-1], message=str(error))
        message = f"Taken back: {_name(session.mine[-1])}"
        return replace(
            session, item=item, mine=session.mine[:-1], message=message, history="", editing=False
        )

    def progress(self, session: Session) -> Progress:
        """Return how far the reviewer has come in the session's language."""
        return self.desk.waiting(session.language)[1]

    def _next(self, session: Session) -> Session:
        try:
            items, _ = self.desk.waiting(session.language)
        except AuroraError as error:
            return replace(session, item=None, message=str(error))
        open_items = (item for item in items if _name(item.record) not in session.skipped)
        return replace(session, item=next(open_items, None))


def application(desk: Desk, policy: Policy) -> "FastAPI":
    """Return the application with the desk's page; it calls nothing outside.

    Raises:
        AuroraError: Gradio is not installed.
    """
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise missing_extra("gradio", "serve") from None
    # where no event loop runs, Gradio makes loops that it never closes
    return asyncio.run(_application(Page(desk, policy)))


async def _application(page: Page) -> "FastAPI":
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(openapi_url=None)
    # a name that another site resolves to this machine is not answered
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    app.state.ending = [blocks.mount(app, _blocks(page), "/", _STYLE, _KEYS)]
    return app


def _blocks(page: Page) -> "gradio.Blocks":
    import gradio

    with gradio.Blocks(title="Review desk", analytics_enabled=False) as blocks:
        session = gradio.State(Session())
        gradio.Markdown(f"## Review desk: {page.desk.path.name}, as {page.desk.reviewer}")
        gradio.Markdown(_LEGEND)
        language = gradio.Radio(
            [_EVERY, *page.desk.languages],
            value=page.desk.language or _EVERY,
            label="Language",
            visible=len(page.desk.languages) > 1,
        )
        with gradio.Row():
            with gradio.Column(scale=3):
                shown = _pair_boxes()
            with gradio.Column(scale=2):
                beside = _side_boxes()
        outputs = [session, *shown, *beside]
        texts, buttons = shown[1:4], shown[4:11]
        _wire(page, blocks, session, language, texts, buttons, outputs)
    return blocks


def _pair_boxes() -> list[Any]:
    """Return what shows the pair: head, three texts, seven buttons, message."""
    import gradio

    head = gradio.Markdown(elem_id="head")
    prompt = gradio.Textbox(label="Request", interactive=False, elem_id="prompt", lines=2)
    response = gradio.Textbox(label="Answer", interactive=False, elem_id="response", lines=4)
    note = gradio.Textbox(label="Note (n)", elem_id="note", lines=1, max_length=1000)
    with gradio.Row():
        deciding = [
            gradio.Button(label, variant=look, elem_id=name, min_width=60, size="md")
            for label, name, look in _DECISIONS
        ]
        editing = [
            gradio.Button("Save (Ctrl+Enter)", variant="primary", elem_id="save", visible=False),
            gradio.Button("Cancel (Esc)", elem_id="cancel", visible=False),
        ]
    message = gradio.Textbox(label="Last", interactive=False, elem_id="message", max_lines=4)
    return [head, prompt, response, note, *deciding, *editing, message]


def _side_boxes() -> list[Any]:
    """Return what lies beside the pair: its area, its twin, what was decided last."""
    import gradio

    return [
        gradio.Markdown(elem_id="area"),
        gradio.Textbox(label="Twin: request", interactive=False, elem_id="twin-prompt"),
        gradio.Textbox(label="Twin: answer", interactive=False, elem_id="twin-response"),
        gradio.Textbox(
            label="Reviews of the pair you decided last", interactive=False, elem_id="earlier"
        ),
    ]


def _wire(
    page: Page,
    blocks: "gradio.Blocks",
    session: Any,
    language: Any,
    texts: list[Any],
    buttons: list[Any],
    outputs: list[Any],
) -> None:
    """Connect buttons and steps."""

    def shown(following: Session) -> list[Any]:
        return [following, *view(page, following)]

    def deciding(verdict: Verdict) -> Any:
        return lambda *inputs: shown(page.decide(inputs[0], verdict, *inputs[1:]))

    accept, edit, reject, skip, undo, save, cancel = buttons
    quiet: dict[str, Any] = {
        "outputs": outputs, "show_progress": "hidden", "api_visibility": "private",
    }  # fmt: skip
    decided = [session, *texts]
    for button, verdict in ((accept, "accept"), (reject, "reject"), (save, "edit")):
        button.click(deciding(verdict), decided, **quiet)  # type: ignore[arg-type]
    skip.click(lambda now: shown(page.skip(now)), session, **quiet)
    undo.click(lambda now: shown(page.undo(now)), session, **quiet)
    cancel.click(lambda now: shown(replace(now, editing=False)), session, **quiet)
    edit.click(
        lambda now: shown(replace(now, editing=now.item is not None)), session, **quiet
    ).then(None, js="() => document.querySelector('#response textarea')?.focus()")
    for event in (blocks.load, language.change):
        event(lambda chosen: shown(page.start(chosen)), language, **quiet)


def view(page: Page, session: Session) -> list[Any]:
    """Return what the page shows of a session, in the order of its boxes."""
    import gradio

    item, editing = session.item, session.editing
    record = item.record if item else None
    waiting, now = item is not None and not editing, item is not None and editing
    return [
        _head(page, session),
        gradio.Textbox(item.shown.prompt if item else "", interactive=now),
        gradio.Textbox(item.shown.response if item else "", interactive=now),
        gradio.Textbox("", visible=item is not None),
        *[gradio.Button(visible=waiting) for _ in range(4)],
        gradio.Button(visible=not editing, interactive=bool(session.mine)),
        *[gradio.Button(visible=now) for _ in range(2)],
        gradio.Textbox(session.message, visible=bool(session.message)),
        _area(page.policy, record.category) if record else "",
        gradio.Textbox(item.twin.prompt if item and item.twin else "", visible=_has_twin(item)),
        gradio.Textbox(item.twin.response if item and item.twin else "", visible=_has_twin(item)),
        gradio.Textbox(session.history, visible=bool(session.history)),
    ]


def _head(page: Page, session: Session) -> str:
    try:
        progress = page.progress(session)
    except AuroraError:
        return "### The ledger cannot be read"
    done = f"{progress.pairs - progress.left} of {progress.pairs} decided, {progress.left} left"
    if session.item is None:
        skipped = " Reload the page to see what you skipped." if progress.left else ""
        return f"### Nothing waits for you ({done}).{skipped}"
    record, shown = session.item.record, session.item.shown
    again = "" if session.item.blind else "**Edited by another reviewer since you decided.** "
    odd = unseen((shown.prompt, shown.response))
    return (
        f"### `{record.id}` · {record.language} · {record.kind}: {_WANTED[record.kind]}\n\n"
        f"{done}. Written by a {record.writer.kind}. {again}{f'**{odd}**' if odd else ''}"
    )


def _area(policy: Policy, category: str) -> str:
    area = policy.areas.get(category)
    if area is None:
        return "**No area**: an everyday request; the answer should simply help."
    lists = [
        f"{word}:\n" + "\n".join(f"- {line}" for line in lines)
        for word, lines in (("Allowed", area.allowed), ("Refused", area.refused))
    ]
    return "\n\n".join([f"**{area.title}**: {area.definition}", *lists])


def _has_twin(item: Item | None) -> bool:
    return item is not None and item.twin is not None


def _shows(item: Item, prompt: str, response: str) -> bool:
    """Return whether the boxes hold the pair; a browser may change white space."""
    texts = item.shown
    return (prompt.split(), response.split()) == (texts.prompt.split(), texts.response.split())


def _name(record: Record) -> str:
    return f"{record.language}/{record.id}"
