"""Publishes into a folder: a copy that is whole and verified, or absent."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from aurora_release import atomic, evidence
from aurora_release.card import sums
from aurora_release.card.verify import verify
from aurora_release.errors import AuroraError


def send(folder: Path, files: Mapping[str, str], to: Path, key: Path | None) -> str:
    """Copy a release to a folder that does not exist yet, and return what was done.

    `files` are their digests as they were checked, by name.

    Raises:
        AuroraError: something else lies there, or the copy does not verify.
    """
    if to.exists():
        if (to / sums.FILE).is_file() and _same(folder, to):
            return f"{to} holds this release already."
        raise AuroraError(f"{to} exists and is not this release: name another folder.")
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(f".{to.name}.{os.getpid()}.partial")
    try:
        for name in files:
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, partial / name)
        if not verify(partial, key).passed:
            raise AuroraError(f"The copy in {partial} does not verify: copy it again.")
        beside = {*files} & {sums.FILE, evidence.SIGNATURE}  # all others are in the list
        if any(evidence.sha256_file(partial / name) != files[name] for name in beside):
            raise AuroraError(f"{folder} was replaced after it was checked: publish it again.")
        atomic.publish_folder(partial, to)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return f"Published: {to}"


def _same(folder: Path, to: Path) -> bool:
    listed = (to / sums.FILE).read_bytes() == (folder / sums.FILE).read_bytes()
    return listed and verify(to).passed
