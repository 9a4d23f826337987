"""The report in a real Chromium: light and dark, narrow, printed, by keyboard."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from aurora_release.card.report import found, report

Browse = Callable[..., AbstractContextManager[Any]]

CONTRAST = """
() => {
  const paint = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const layers = one => one ? [...layers(one.parentElement), getComputedStyle(one).backgroundColor]
                            : [];
  const shade = colours => {
    for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3).map(
      part => part / 255).map(
      part => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  return Math.min(...[...document.querySelectorAll('p, li, a, th, td, caption, summary, small')]
    .map(one => {
      const under = layers(one), ink = getComputedStyle(one).color;
      const [low, high] = [shade(under), shade([...under, ink])].sort((x, y) => x - y);
      return (high + .05) / (low + .05);
    }));
}
"""


@pytest.fixture(scope="module")
def page(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    report.write(found.finished(small_run), path)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(page: Path, browse: Browse, scheme: str) -> None:
    with browse(page.as_uri(), "", color_scheme=scheme) as tab:
        assert tab.evaluate(CONTRAST) >= 4.5
        ink, paper = tab.evaluate(
            "[getComputedStyle(document.querySelector('svg text')).fill,"
            " getComputedStyle(document.body).backgroundColor]"
        )
        assert (ink, paper) == {
            "light": ("rgb(34, 34, 34)", "rgb(255, 255, 255)"),
            "dark": ("rgb(221, 221, 221)", "rgb(22, 22, 22)"),
        }[scheme]


def test_the_keyboard_reaches_content_tables_and_details(page: Path, browse: Browse) -> None:
    with browse(page.as_uri(), "") as tab:
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
        tab.keyboard.press("Enter")
        assert tab.evaluate("document.activeElement.id") == "main"
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.getAttribute('role')") == "region"
        assert not tab.locator("details table").first.is_visible()
        tab.locator("summary").first.focus()
        tab.keyboard.press("Enter")
        assert tab.locator("details table").first.is_visible()


def test_a_screen_reader_finds_its_way(page: Path, browse: Browse) -> None:
    with browse(page.as_uri(), "") as tab:
        assert tab.get_attribute("html", "lang") == "en"
        assert tab.get_by_role("main").count() == tab.get_by_role("navigation").count() == 1
        levels = tab.eval_on_selector_all("h1, h2, h3", "all => all.map(one => +one.tagName[1])")
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
        assert tab.locator("table:not(:has(caption)), th:not([scope])").count() == 0
        assert tab.locator("svg").count() == 6
        assert tab.locator("svg:not([role=img][aria-label])").count() == 0
        tab.get_by_role("link", name="Lineage").click()
        assert tab.evaluate("location.hash") == "#lineage"


def test_a_phone_does_not_scroll_sideways(page: Path, browse: Browse) -> None:
    with browse(page.as_uri(), "", viewport={"width": 360, "height": 740}) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_print_opens_what_is_closed_and_cuts_nothing(page: Path, browse: Browse) -> None:
    with browse(page.as_uri(), "", viewport={"width": 680, "height": 960}) as tab:
        tab.emulate_media(media="print", color_scheme="dark")
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert tab.locator("nav").is_hidden()
        assert tab.locator("details table").last.evaluate("one => one.offsetHeight") > 0
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.skipif("AURORA_RUN" not in os.environ, reason="AURORA_RUN names no run")
def test_take_the_picture_of_the_documentation(tmp_path: Path, browse: Browse) -> None:
    path = tmp_path / "report.html"
    report.write(found.finished(Path(os.environ["AURORA_RUN"])), path)
    picture = Path(__file__).parents[3] / "docs" / "images" / "report.png"
    view = {"viewport": {"width": 920, "height": 1250}}
    with browse(path.as_uri(), "", **view) as tab:
        tab.locator("#safety").evaluate("one => one.scrollIntoView()")
        tab.screenshot(path=picture)
    assert 10_000 < picture.stat().st_size < 300_000
