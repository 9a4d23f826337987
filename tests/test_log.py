"""Standard output is for answers."""

import subprocess
import sys

NOISY = """
import os, subprocess
from aurora_release.log import nothing_on_stdout
with nothing_on_stdout():
    print("a library")
    os.write(1, b"its C code\\n")
    subprocess.run(["echo", "its program"])
print("the answer")
"""


def test_what_libraries_print_does_not_reach_standard_output() -> None:
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, check=True)
    assert done.stdout == "the answer\n"
    assert set(done.stderr.splitlines()) == {"a library", "its C code", "its program"}
