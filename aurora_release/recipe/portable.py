"""A recipe as others may read it: without the folders of the machine that it ran on."""

import re
from pathlib import PurePosixPath
from typing import Any

_ELSEWHERE = re.compile(r"(?:/|~[^/]*/|\.\./).*")


def portable(value: Any) -> Any:
    """Return JSON in which a path from a root, a home or above the recipe is its last name.

    What lies there is pinned by its digest; where it lay concerns nobody, and may change.
    """
    if isinstance(value, str):
        return PurePosixPath(value).name if _ELSEWHERE.fullmatch(value) else value
    if isinstance(value, dict):
        return {key: portable(each) for key, each in value.items()}
    return [portable(each) for each in value] if isinstance(value, list) else value
