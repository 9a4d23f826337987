"""Hook of the site: what a page links outside docs/ comes along, under `repository/`.

The same links work where the repository is read, and the site needs no address of it.
"""

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = "repository/"
LINK = re.compile(r"(?<=\]\()[^)#\s:]+(?=[)#])")
"""The path of a relative link, with or without an anchor behind it."""


def on_files(files: Files, config: "MkDocsConfig") -> None:
    """Add every file outside docs/ that a page links, and what such pages link."""
    left = list(files.documentation_pages())
    while left:
        page = left.pop()
        for link in LINK.findall(page.content_string):
            uri = in_site(page.src_uri, link)
            path = ROOT / uri.removeprefix(OUTSIDE)
            if uri.startswith(OUTSIDE) and path.exists() and not files.get_file_from_path(uri):
                file = File.generated(config, uri, abs_src_path=str(path))
                files.append(file)
                left += [file] if file.is_documentation_page() else []


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: Files) -> str:
    """Return a page with its links as they are in the site."""
    here = page.file.src_uri
    return LINK.sub(lambda link: relpath(in_site(here, link[0]), dirname(here)), markdown)


def in_site(page: str, link: str) -> str:
    """Return where in the site the target of a page's link lies; of a folder, its README."""
    inside = page.startswith(OUTSIDE)
    source = page.removeprefix(OUTSIDE) if inside else f"docs/{page}"
    target = normpath(join(dirname(source), link))
    if (ROOT / target).is_dir():
        target += "/README.md"
    return target.removeprefix("docs/") if target.startswith("docs/") else OUTSIDE + target
