"""No secret and no path into somebody's home is committed, but for those that tests need."""

import subprocess
from pathlib import Path

import pytest

from aurora_release.publish.scan import secrets

ROOT = Path(__file__).parent.parent
KNOWN = {
    "serve/Dockerfile", "serve/compose.yaml", "serve/k8s.yaml",  # the home inside the image
    "tests/data/clean/test_mask.py", "tests/publish/test_publish.py", "tests/publish/test_scan.py",
}  # fmt: skip


def test_no_secret_is_committed() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: nobody knows which files are committed")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    names = [name for name in listed if name and (ROOT / name).is_file()]
    found = {name: said for name in names if (said := secrets(ROOT / name))}
    assert found.keys() == KNOWN & {*names}, {
        name: said for name, said in found.items() if name not in KNOWN
    }
