"""Text in one form: NFC, Unix line ends, no control characters, no blank runs."""

import re
import unicodedata

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufeff\ufffe\uffff]")
_BLANK_LINES = re.compile(r"\n\s*\n\s*\n+")


def normalise(text: str) -> str:
    """Return `text` in NFC with Unix line ends and without control characters or blank runs."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _BLANK_LINES.sub("\n\n", _CONTROL.sub("", text)).strip()
