"""The documents as a site: built strictly, whole without a network; `make docs` installs mkdocs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import PAGES, ROOT

MKDOCS = Path(sys.prefix) / "docs" / "bin" / "mkdocs"


@pytest.mark.skipif(not MKDOCS.exists(), reason="mkdocs is not installed: make docs")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    build = [MKDOCS, "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path: path.read_text("utf-8") for path in tmp_path.rglob("*.html")}
    assert len(pages) >= len(PAGES)
    for path, page in pages.items():
        loaded = re.findall(
            r"<(?:script|img|link)\b[^>]*?\b(?:src|href)=\"?(https?://[^\"> ]*)", page
        )
        assert loaded == [], path
