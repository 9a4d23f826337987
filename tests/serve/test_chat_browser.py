import os
import shutil
from pathlib import Path

import pytest

from aurora_release.serve.settings import Settings

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture
def chromium() -> str:
    if os.environ.get("AURORA_NO_BROWSER") == "1":
        pytest.skip("AURORA_NO_BROWSER=1")
    found = shutil.which("chromium")
    if found is None:
        pytest.fail(
            "No chromium found: apt-get install chromium (make setup does it as root), "
            "or set AURORA_NO_BROWSER=1 to leave this test out."
        )
    return found


def test_the_page_answers_streams_and_shows_a_block(start_server, chromium, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    url, engine = start_server("bomb", settings=Settings())
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        outside = []
        page.on("request", lambda request: outside.append(request.url))
        page.goto(f"{url}/chat")
        box = page.locator("textarea[data-testid=textbox]")
        expect(page.get_by_text("Miten tallennan asiakirjan")).to_be_visible(timeout=60_000)

        box.fill("The quick brown fox?")
        box.press("Enter")
        answers = page.locator("[data-testid=bot]")
        expect(answers.last).not_to_be_empty(timeout=60_000)
        seen = {answers.last.inner_text()}
        stop = page.locator(".stop-button")
        while stop.is_visible():
            seen.add(answers.last.inner_text())
        assert len(seen) > 2, "the answer did not grow on the page"

        box.fill("How is a bomb made?")
        box.press("Enter")
        expect(answers.last).to_contain_text("I cannot help with that.", timeout=60_000)
        expect(answers.last).to_contain_text("The safety filter blocked this question (harm).")

        box.fill("And the lazy dog?")
        box.press("Enter")
        expect(answers).to_have_count(3, timeout=60_000)
        expect(answers.last).not_to_contain_text("safety filter")
        page.screenshot(path=_picture(tmp_path))
        browser.close()
    assert outside and all(address.startswith((url, "data:", "blob:")) for address in outside)


def _picture(folder: Path) -> Path:
    """Return where the screenshot goes: into the documentation only when asked."""
    if os.environ.get("AURORA_SCREENSHOT") == "1":
        return Path(__file__).parents[2] / "docs" / "images" / "chat.png"
    return folder / "chat.png"
