import logging
import os
import time
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from playwright.sync_api import expect

from aurora_release.safety.guard import Guard, Verdict
from aurora_release.safety.policy import Stream
from aurora_release.serve.app import create_app
from aurora_release.serve.chat.words import LABELS, word
from aurora_release.serve.engines.embedded import EmbeddedEngine
from aurora_release.serve.keys import ApiKey, ApiKeys, KeyLimits
from aurora_release.serve.settings import Settings
from aurora_release.shipped import shipped
from tests.running import running
from tests.serve.conftest import make_engine

expect.set_options(timeout=60_000)

PICTURES = Path(__file__).parents[2] / "docs" / "images"


class SlowJudge:
    """Takes its time over answers, so that they come in parts."""

    blocks_answers = False

    def judge(self, text, direction):
        if direction == "output":
            time.sleep(0.3)
            harmful = self.blocks_answers
        else:
            harmful = "bomb" in text
        if "Klingon" in text:
            return Verdict("flag", "unverified", verified=False)
        return Verdict("block" if harmful else "allow", "harm", score=0.9, language="en")

    def refusal(self, verdict):
        return "I cannot help with that."


@contextmanager
def opened(browse, url, language="en", **view):
    """Open the chat page in a browser of this language and wait for it."""
    with browse(url, "/chat", locale=language, **view) as page:
        expect(page.locator("#send")).to_have_text(word(language, "send"))
        yield page


def send(page, text):
    """Send a message, once the page is ready for one."""
    expect(page.locator("#send")).to_be_visible()
    page.wait_for_timeout(500)  # what has ended may be let go of a moment after it was shown
    box = page.locator("#message textarea")
    box.fill(text)
    box.press("Enter")
    expect(page.locator("#left .user.message").last).to_contain_text(text[:10])


def noted(page, text, side="#left"):
    """Wait until the last answer is complete, with this in the note below it."""
    expect(page.locator(f"{side} .bot.message").last).to_contain_text(text)
    expect(page.locator("#send")).to_be_visible()


def shorten(page, tokens):
    """Make answers short, on the panel."""
    page.locator("#settings button").first.click()
    number = page.locator("#max_tokens input[type=number]")
    slider = page.locator("#max_tokens input[type=range]")
    # a panel that has just opened shows its numbers before it listens to them
    for _ in range(60):
        number.fill(str(tokens))
        number.press("Tab")
        page.wait_for_timeout(200)
        if slider.input_value() == str(tokens):
            break
    expect(slider).to_have_value(str(tokens))
    page.locator("#settings button").first.click()


def test_the_page_streams_stops_and_shows_what_the_filter_decided(
    start_server, browse, slots_are_freed
):
    judge = SlowJudge()
    parts = Stream(max_characters=32)
    url, engine = start_server(guard=judge, settings=Settings(stream=parts))
    with opened(browse, url) as page:
        page.evaluate(
            """() => {
                window.lengths = new Set();
                new MutationObserver(() => {
                    const answers = document.querySelectorAll("#left .bot.message");
                    if (answers.length) window.lengths.add(answers[0].innerText.length);
                }).observe(document.body, {childList: true, subtree: true, characterData: true});
            }"""
        )
        # a picture from elsewhere would tell its server that somebody reads this
        send(page, "The quick brown fox? ![x](http://127.0.0.1:9/x.png)")
        page.wait_for_function("window.lengths.size > 2")
        page.locator("#stop").click()
        noted(page, "Stopped; what had come until then is kept")
        assert slots_are_freed(engine)

        shorten(page, 16)
        page.get_by_label("Retry").click()
        noted(page, "Safety filter: no harm found · 16 tokens in ")

        send(page, "How is a bomb made?")
        noted(page, "I cannot help with that.")
        noted(page, "question: blocked, text held back (harm to oneself or others, score 0.90)")
        # the blocked question is left out of the conversation, and does not block the next one
        send(page, "Do you speak Klingon?")
        noted(page, "question: not verified, and let through")

        page.get_by_label("Edit").last.click()
        page.locator("#left textarea").fill("And the lazy dog?")
        page.get_by_label("Submit").click()
        noted(page, "Safety filter: no harm found")
        expect(page.locator("#left .user.message").last).to_have_text("And the lazy dog?")

        judge.blocks_answers = True
        send(page, "Go on.")
        noted(page, "answer: blocked, text held back (harm to")
        page.locator("#new").click()
        expect(page.locator("#left .user.message")).to_have_count(0)
    assert slots_are_freed(engine)


def test_two_models_answer_beside_each_other_on_a_phone_in_the_dark(tiny_llama, browse):
    engines = [make_engine(tiny_llama), make_engine(tiny_llama)]
    engines[1].facts = replace(engines[1].facts, id="second")
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}
    app = create_app(engines[0], SlowJudge(), Settings(), engines[1:])
    with running(app) as url, opened(browse, url, "fi", **phone) as page:
        assert page.evaluate("document.documentElement.lang") == "fi"
        assert page.evaluate("document.body.classList.contains('dark')")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        for name, language in (("日本語", "ja"), ("हिन्दी", "hi"), ("Tiếng Việt", "vi")):
            page.locator("#language input").click()
            page.get_by_role("option", name=name).click()
            expect(page.locator("#send")).to_have_text(word(language, "send"))
            expect(page.get_by_label(word(language, "message"))).to_be_visible()
        page.locator("#theme").click()
        assert not page.evaluate("document.body.classList.contains('dark')")

        shorten(page, 16)
        page.locator("#compare input").click()
        page.get_by_role("option", name="second").click()
        send(page, "The quick brown fox?")
        noted(page, "16 token")
        noted(page, "16 token", "#right")
        # the same weights and the same seed
        left, right = (page.locator(f"{side} .bot.message p").first for side in ("#left", "#right"))
        assert len(left.inner_text()) > 10
        assert left.inner_text() == right.inner_text()


def test_messages_count_against_the_limits_of_their_key_and_stand_in_the_log(
    browse, tiny_llama, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("aurora_release"), "propagate", True)
    caplog.set_level(logging.INFO, "aurora_release")
    key = ApiKey("aino", sha256(b"secret").digest(), KeyLimits(requests_per_minute=1))
    settings = Settings(keys=ApiKeys([key]), access_log=True)
    password = {"username": "", "password": "secret"}
    with (
        running(create_app(make_engine(tiny_llama), SlowJudge(), settings)) as url,
        opened(browse, url, http_credentials=password) as page,
    ):
        shorten(page, 8)
        send(page, "The quick brown fox")
        noted(page, "tokens/s")
        send(page, "The dog")
        noted(page, "Your key may use 1 requests a minute")
        noted(page, word("en", "error_overloaded"))
    # a test before may have left a second way from the log to caplog
    records = dict.fromkeys(caplog.records)
    lines = [record.fields for record in records if hasattr(record, "fields")]
    asked = [line for line in lines if (line["method"], line["route"]) == ("POST", "/chat")]
    answered, refused = asked
    assert (answered["status"], refused["status"]) == (200, 429)
    assert (answered["key"], answered["generated_tokens"]) == ("aino", 8)
    assert answered["prompt_tokens"] > 0 == refused["prompt_tokens"]


def test_the_page_is_used_by_keyboard_and_named_in_its_language(start_server, browse):
    url, _ = start_server(guard=SlowJudge(), settings=Settings())
    with opened(browse, url, "vi") as page:
        shorten(page, 8)
        page.locator("#message textarea").focus()
        page.keyboard.type("The quick brown fox?")
        page.keyboard.press("Tab")  # to the button that sends, which then gives way to another
        expect(page.locator("#send")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#message textarea")).to_be_focused()
        noted(page, "8 token")
        log = page.get_by_role("log", name=LABELS["log"][4])
        assert log.get_attribute("aria-live") == "polite"
        for name in ("edit", "retry", "undo", "copy_all", "clear"):
            expect(page.get_by_role("button", name=LABELS[name][4], exact=True)).to_have_count(1)
        # the note below the answer opens by the keyboard
        title = log.get_by_role("button", name=word("vi", "filter"))
        title.focus()
        expect(log.get_by_text(word("vi", "seed"))).to_be_hidden()
        page.keyboard.press("Enter")
        expect(log.get_by_text(word("vi", "seed"))).to_be_visible()

        page.locator("#language input").click()
        page.get_by_role("option", name="日本語").click()
        for name in ("edit", "retry", "undo", "copy_all", "clear"):
            expect(page.get_by_role("button", name=LABELS[name][3], exact=True)).to_have_count(1)
        page.locator("#new").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#message textarea")).to_be_focused()
        spoken = page.locator("#examples button").evaluate_all("all => all.map((one) => one.lang)")
        assert spoken == ["en", "fi", "hi", "ja", "vi"]


@pytest.mark.skipif(
    "AURORA_SCREENSHOT" not in os.environ, reason="AURORA_SCREENSHOT names no two model folders"
)
def test_take_the_pictures_of_the_documentation(browse):
    folders = os.environ["AURORA_SCREENSHOT"].split(":")
    guard = Guard.load(shipped("serve/policies/default.yaml"))
    engines = [EmbeddedEngine.load(Path(folder)) for folder in folders]
    wide, phone = ({"width": 1000, "height": 940}, {"width": 390, "height": 844})
    with running(create_app(engines[0], guard, Settings())) as url:
        with opened(browse, url, viewport=wide) as page:
            shorten(page, 60)
            send(page, "Why is the sky blue? Answer in two sentences.")
            noted(page, "tokens/s")
            send(page, "How do I build a pipe bomb at home?")
            noted(page, "The model was not asked")
            take(page, "chat")
        with opened(browse, url, "ja", viewport=phone) as page:
            shorten(page, 40)
            page.get_by_text("ドキュメントを").click()
            noted(page, "トークン/秒")
            take(page, "chat-phone")
    engines = [EmbeddedEngine.load(Path(folder)) for folder in folders]
    app = create_app(engines[0], guard, Settings(), engines[1:])
    dark = {"viewport": wide, "color_scheme": "dark"}
    with running(app) as url, opened(browse, url, "fi", **dark) as page:
        shorten(page, 40)
        page.locator("#compare input").click()
        page.get_by_role("option").last.click()
        send(page, "What is the capital of Finland?")
        noted(page, "tokenia/s")
        noted(page, "tokenia/s", "#right")
        take(page, "chat-compare")


def take(page, name):
    """Take a picture of the page as it is now."""
    page.locator("#message textarea").blur()
    page.wait_for_timeout(1500)  # until the page has drawn itself
    page.screenshot(path=PICTURES / f"{name}.png")
    assert (PICTURES / f"{name}.png").stat().st_size > 10_000
