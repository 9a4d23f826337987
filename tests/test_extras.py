"""A package without its extras says what to install."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("package", "arguments"),
    [
        ("starlette", ("serve", ".")),
        ("numpy", ("data", "report", "demo")),
        ("numpy", ("safety", "policy")),
    ],
)
def test_what_is_missing_is_named(package: str, arguments: tuple[str, ...]) -> None:
    script = (
        "import sys; from aurora_release.cli import main\n"
        f"sys.modules[{package!r}] = None; sys.argv[1:] = {arguments!r}\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"aurora: {package} is not installed, and this command needs it: "
        "pip install 'aurora-release[all]'\n"
    )
