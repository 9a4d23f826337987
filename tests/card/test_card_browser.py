"""The card as people see it: its Markdown as the Hub renders it, in a real Chromium."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from markdown_it import MarkdownIt

Browse = Callable[..., AbstractContextManager[Any]]

# near the look of a model page on the Hub
STYLE = """
body { font: 16px/1.6 "Source Sans 3", "DejaVu Sans", sans-serif; color: #1f2937;
       max-width: 860px; margin: 24px auto; padding: 0 24px; }
h1, h2 { border-bottom: 1px solid #e5e7eb; padding-bottom: 4px; }
table { display: block; overflow-x: auto; border-collapse: collapse; font-size: 14px; }
th, td { border: 1px solid #e5e7eb; padding: 4px 10px; }
pre { background: #f9fafb; padding: 12px; overflow-x: auto; border-radius: 8px; }
code { font: 13px "DejaVu Sans Mono", monospace; }
img { max-width: 100%; }
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def site(release: Path) -> Iterator[str]:
    """Serve a release whose pages lie beside themselves as HTML."""
    for page in release.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        body = text.split("\n---\n", 1)[1] if text.startswith("---\n") else text
        html = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
        page.with_suffix(".html").write_text(
            f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{html}", encoding="utf-8"
        )
    handler = partial(Quiet, directory=str(release))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_tables_are_tables_and_pictures_are_there(released: Path, browse: Browse) -> None:
    with site(released) as url, browse(url, "/README.html") as page:
        broken = "[...document.images].filter(one => !one.naturalWidth).map(one => one.src)"
        assert page.evaluate(broken) == []
        assert page.evaluate("document.images.length") == 5
        assert page.locator("table").count() >= 15
        assert not any("|" in text for text in page.locator("p, li").all_inner_texts())
        links = page.eval_on_selector_all("a", "all => all.map(one => one.getAttribute('href'))")
        here = [link for link in links if "://" not in link]
        assert here and all((released / link).exists() for link in here)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.skipif("AURORA_CARD" not in os.environ, reason="AURORA_CARD names no release")
def test_take_the_picture_of_the_documentation(tmp_path: Path, browse: Browse) -> None:
    release = tmp_path / "release"
    leave_out = shutil.ignore_patterns("*.safetensors", "*.gguf")
    shutil.copytree(os.environ["AURORA_CARD"], release, ignore=leave_out)
    pictures = Path(__file__).parents[2] / "docs" / "images"
    view = {"viewport": {"width": 920, "height": 1250}}
    with site(release) as url, browse(url, "/README.html", **view) as page:
        page.get_by_role("heading", name="Evaluation").evaluate("one => one.scrollIntoView()")
        page.screenshot(path=pictures / "card.png")
        if whole := os.environ.get("AURORA_CARD_WHOLE"):
            page.screenshot(path=whole, full_page=True)
    assert (pictures / "card.png").stat().st_size > 10_000
