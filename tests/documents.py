"""The documents of the repository, and the commands and links in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
PAGES = sorted([
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md",
    *(ROOT / room / "README.md" for room in ("bench", "model_card", "quantize", "serve", "train")),
    *(ROOT / "docs").rglob("*.md"),
])  # fmt: skip

_OPERATORS = re.compile(r"[();<>|&]+")


@dataclass(frozen=True)
class Command:
    """One `aurora` command of a page, as a shell would read it."""

    page: Path
    words: tuple[str, ...]
    """Without `aurora`."""

    def __str__(self) -> str:
        return shlex.join(["aurora", *self.words])


def tokens(page: Path) -> list[Token]:
    """Return the Markdown of a page, inline tokens in their place."""
    found = MarkdownIt("commonmark").enable("table").parse(page.read_text("utf-8"))
    return [inner for token in found for inner in (token, *(token.children or ()))]


def name(page: Path) -> str:
    """Return what a page is called in the repository."""
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return [
        str(token.attrs[key])
        for token in tokens(page)
        for key in ("href", "src")
        if token.type in ("link_open", "image") and key in token.attrs
    ]


def anchors(page: Path) -> set[str]:
    """Return what can stand behind `#` in a link to a page: its headings, as GitHub names them."""
    found: dict[str, int] = {}
    read = tokens(page)
    for before, token in zip(read, read[1:], strict=False):
        if before.type == "heading_open":
            text = "".join(part.content for part in token.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            found[slug] = found.get(slug, 0) + 1
    return {f"{slug}-{n}" if n else slug for slug, often in found.items() for n in range(often)}


def commands() -> list[Command]:
    """Return every `aurora` command that stands on a line of code, each page's once."""
    found = [
        Command(page, words)
        for page in PAGES
        if page.name != "cli.md"  # usage, printed by the commands themselves
        for token in tokens(page)
        if token.type in ("code_block", "fence") and token.info.strip() not in ("text", "python")
        for line in token.content.replace("\\\n", " ").splitlines()
        for words in _of_line(line)
    ]
    return list(dict.fromkeys(found))


def _of_line(line: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command in a line, without redirections and comments."""
    if not re.search(r"(^|[|&;(])\s*aurora ", line):
        return
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not _OPERATORS.fullmatch(word):
            words.append(word)
            continue
        if words[:1] == ["aurora"]:
            yield tuple(words[1:])
        # the file of a redirection begins no command
        words = [">"] if word in ("<", ">", ">>") else []


def mentions(page: Path) -> list[str]:
    """Return what a page says of `aurora` commands inside its sentences."""
    return [
        token.content.removeprefix("aurora ")
        for token in tokens(page)
        if token.type == "code_inline" and token.content.startswith("aurora ")
    ]
