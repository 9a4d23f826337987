"""The licence of the weights: its text, what it forbids, and where it must travel with them."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

from aurora_release.card.chain import Chain
from aurora_release.errors import AuroraError
from aurora_release.licences import FILE, TEXTS
from aurora_release.shipped import resolve, shipped

_RESTRICTING = ("*openrail*", "llama*", "gemma*", "other")
"""Licences that restrict uses, or may: who shares the weights must hand the text on."""

_BIGCODE = "bigcode-openrail-m"
_STARCODER = ("bigcode/*", "*starcoder*")
"""Base models that are under BigCode's licence, whatever a recipe says."""


def restricts(chain: Chain) -> bool:
    """Return whether the licence restricts uses, so that its text must travel with the weights."""
    name = chain.recipe.model.license.lower()
    return any(fnmatchcase(name, pattern) for pattern in _RESTRICTING)


def text(chain: Chain, beside: Path) -> Path | None:
    """Return the file that the release takes as its licence; None where the base model brings one.

    `beside` is the folder of the recipe. A licence without use restrictions may have no text here.

    Raises:
        AuroraError: the licence restricts uses, and there is no text to hand on; or the base model
            is known to be under another one.
    """
    model = chain.recipe.model
    if in_base(chain):
        return None
    if model.license_file:
        return resolve(model.license_file, beside)
    starcoder = any(fnmatchcase(model.base.lower(), pattern) for pattern in _STARCODER)
    if starcoder and model.license.lower() != _BIGCODE:
        raise AuroraError(
            f"The release is not built: {model.base} descends from StarCoder, which is under "
            f"{_BIGCODE}, and model.license of the recipe says {model.license!r}. Correct it, or "
            "name the text of the licence that you have in model.license_file."
        )
    if path := TEXTS.get(model.license.lower()):
        return shipped(path)
    if restricts(chain):
        raise AuroraError(
            f"The release is not built: {model.base} is under {model.license!r}, which may "
            "restrict uses and must then be handed on, and no text of it is here. Name a file "
            "with the licence's text in model.license_file of the recipe and run again: nothing "
            f"is trained a second time ({', '.join(sorted(TEXTS))} need no file)."
        )
    return None


def in_base(chain: Chain) -> list[str]:
    """Return the licence files that came with the base model."""
    found = chain.stages["base"].subject if "base" in chain.stages else {}
    return [name for name in found if fnmatchcase(name, f"{FILE}*") and "/" not in name]


def named(chain: Chain) -> str | None:
    """Return the name of the file in the release that holds the licence's text, if one does."""
    model = chain.recipe.model
    if found := in_base(chain):
        return found[0]
    return FILE if model.license_file or model.license.lower() in TEXTS else None


def restrictions(chain: Chain) -> list[str]:
    """Return what the licence forbids, item by item, from its shipped text; [] where unknown."""
    path = TEXTS.get(chain.recipe.model.license.lower())
    if path is None or not restricts(chain):
        return []
    _, _, attachment = shipped(path).read_text(encoding="utf-8").partition("USE RESTRICTIONS")
    return re.findall(r"^\([a-z]\) (.+)$", attachment, flags=re.MULTILINE)
