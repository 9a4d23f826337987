"""The group of all verbs: a mistake names what was probably meant, and help says how it ends."""

import re
from typing import Any

import typer
from typer.core import TyperGroup

from aurora_release.errors import EXIT_CODES, Interrupted, meant

EPILOG = "Exit codes: " + "; ".join(f"{code} {text}" for code, text in EXIT_CODES.items()) + "."

BEGIN, MAKE, JUDGE, USE, RELEASE = (
    "Begin", "From text to a model", "Measure and make smaller", "Use it", "Release it",
)  # fmt: skip
"""Headings of the help: what a newcomer types first comes first."""


class Commands(TyperGroup):
    """Names the choice that was probably meant, as typer does for commands and options."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; raises `Interrupted` where a question was not answered."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _said(error.message)
            raise
        except typer.Abort:
            raise Interrupted("stopped at a question, before anything was done.") from None


def _said(message: str) -> str:
    """Return typer's `'x' is not one of 'a', 'b'.` with the one that was probably meant."""
    message = message.removeprefix("Value error, ")
    wrong, found, known = message.partition(" is not one of ")
    if not found:
        return message
    return message + meant(wrong.strip("'"), re.findall(r"'([^']*)'", known))
