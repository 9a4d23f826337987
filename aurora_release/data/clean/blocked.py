"""Lists of words that a text may hold too many of: obscene, adult, or worse."""

from pathlib import Path

import regex

from aurora_release.data.clean import ngrams
from aurora_release.errors import AuroraError

_ALONE = regex.compile(rf"[{ngrams.ALONE}]")


class Blocked:
    """Words and phrases of one or more lists."""

    def __init__(self, words: list[str]) -> None:
        known = sorted({word.strip().lower() for word in words} - {""}, key=len, reverse=True)
        inside = [regex.escape(word) for word in known if _ALONE.search(word)]
        spaced = [regex.escape(word) for word in known if not _ALONE.search(word)]
        # whole words, their marks included; anywhere in scripts without spaces
        letter = r"[\p{L}\p{M}\p{N}]"
        whole = [rf"(?<!{letter})(?:{'|'.join(spaced)})(?!{letter})"] if spaced else []
        self._pattern = regex.compile("|".join(whole + inside) or r"(?!)")

    @classmethod
    def load(cls, paths: list[Path]) -> "Blocked":
        """Return the words of files, one a line; `#` starts a comment line.

        Raises:
            AuroraError: a file is missing.
        """
        words: list[str] = []
        for path in paths:
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except FileNotFoundError:
                raise AuroraError(
                    f"{path} is missing: data.clean.blocked_words names it. Correct the path."
                ) from None
            words += [line for line in lines if not line.startswith("#")]
        return cls(words)

    def share(self, text: str) -> float:
        """Return the share of a text's tokens that lie in blocked words."""
        found = [match.group() for match in self._pattern.finditer(text.lower())]
        if not found:
            return 0.0
        return sum(len(ngrams.tokens(word)) for word in found) / max(1, len(ngrams.tokens(text)))
