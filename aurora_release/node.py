"""Where packages of node are: they bring the real llama.cpp without compiling it."""

import os
import sys
from pathlib import Path

LLAMA_CPP = "node-llama-cpp@3.22.1"


def node_folder() -> Path:
    """Return the folder of packages, which need not be there."""
    return Path(os.environ.get("AURORA_NODE", Path(sys.prefix) / "node"))
