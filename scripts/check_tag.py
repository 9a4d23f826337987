"""Refuses a tag that is not the version of the package, or that the changelog does not date."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """Return a sentence for everything that keeps `tag` from being released."""
    code = (root / "aurora_release" / "__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"$', code, re.MULTILINE)
    found = []
    if tag != f"v{version}":
        found.append(f"The tag is {tag}; the package says {version} (aurora_release/__init__.py).")
    heading = rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$"
    if not re.search(heading, (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE):
        found.append(f"CHANGELOG.md has no heading `## {version} (YYYY-MM-DD)`.")
    if f"\nversion: {version}\n" not in (root / "CITATION.cff").read_text(encoding="utf-8"):
        found.append(f"CITATION.cff does not say version: {version}.")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems(sys.argv[1])))
