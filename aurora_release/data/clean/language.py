"""Which language a text is in, where it is not the one its source says."""

from functools import cache
from typing import Any

_SAMPLE = 2000
"""Characters that are looked at: more change nothing on real text, and cost time."""
OTHER = "other"


def other_language(text: str, expected: str, confidence: float) -> tuple[str, float] | None:
    """Return the language of a text that is not in the expected one, and how sure that is.

    `other` stands for what is no language: tables of numbers, noise. A language that the
    identifier does not know is not judged.
    """
    identifier = _identifier()
    wanted = expected.split("-")[0].lower()
    if wanted not in identifier.labels:
        return None
    found, probability = identifier.classify(text[:_SAMPLE])
    if found == wanted or probability < confidence:
        return None
    return OTHER if found == "zxx" else str(found), float(probability)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
