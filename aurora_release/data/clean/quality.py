"""Rules of text quality that hold for each language, with or without spaces between words."""

import math
from collections import Counter

import numpy as np
import regex
from datatrove.pipeline.filters.gopher_repetition_filter import find_duplicates
from datatrove.utils.text import TERMINAL_PUNCTUATION

from aurora_release.data.clean import ngrams

_LETTER = regex.compile(r"[\p{L}\p{M}]")
_DIGIT = regex.compile(r"\p{Nd}")
_SPACE = regex.compile(r"\s+")
_SCRIPT = {
    "hi": regex.compile(r"\p{Devanagari}"),
    "ja": regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}ー]"),
}
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
# words that hold sentences together; in Japanese, endings and particles of two characters
_FUNCTION = {
    "en": "the of and to in is that for it with as on be are this by or from at not you can if",
    "fi": "ja on ei että se joka tai kun jos voi ovat mutta niin myös kuin sen sekä jotka hän oli "
    "tämä mukaan ole olla voit tämän ne eli vain tässä jonka jossa niiden kaikki voidaan kanssa "
    "ennen jälkeen sitä siitä nyt jotta koska jokin sitten kuten eikä siihen niitä muun",
    "hi": "के का की में है को से पर और एक यह कि हैं करने लिए ने भी या तो नहीं कर इस हो जो था",
    "ja": "です ます する した して こと ない ある いる れる から など この その ため また よう "
    "には では とし れた って たり きま まし なる もの さい 場合 ると",
    "vi": "và của là các có được cho trong một không với này để khi bạn những đã từ hoặc người ở",
}
_BOILERPLATE = regex.compile(
    r"lorem ipsum|all rights reserved|enable javascript|(?:accept|use) (?:all )?cookies"
    r"|terms of (?:use|service)|privacy policy|hyväksy evästeet|käytämme evästeitä"
    r"|kaikki oikeudet pidätetään|tietosuojaseloste|सभी अधिकार सुरक्षित|कुकीज़? (?:का|स्वीकार)"
    r"|गोपनीयता नीति|全著作権所有|無断転載|プライバシーポリシー|cookieを使用|利用規約"
    r"|bảo lưu mọi quyền|chấp nhận cookie|chính sách bảo mật|điều khoản sử dụng",
    regex.IGNORECASE,
)


# what clean text keeps to: of 268 to 507 pages a language of manuals, stories, courses and an
# encyclopedia at least 95 in 100 do (tests/data/clean/test_quality.py holds examples)
_BOUNDS = {
    "letters": (0.7, 1.0),
    "digits": (0.0, 0.25),
    "symbols": (0.0, 0.25),
    "repeated lines": (0.0, 0.2),  # Gopher (Rae et al. 2021, table A1)
    "repeated phrases": (0.0, 0.3),
    "commonest phrase": (0.0, 0.3),
    "boilerplate lines": (0.0, 0.2),
    "menu lines": (0.0, 0.95),
    "script": (0.4, 2.0),
    "kana": (0.15, 1.0),
    "characters in a line": (0.0, 100.0),  # code: The Stack (Kocetkov et al. 2022)
    "longest line": (0.0, 1000.0),
    "letters of code": (0.25, 1.0),
}
_BOUNDS_OF = {
    "en": {"letters in a word": (2.5, 10.0), "function words": (0.04, 1.0)},
    "fi": {"letters in a word": (4.0, 14.0), "function words": (0.01, 1.0)},
    "hi": {"letters in a word": (2.0, 10.0), "function words": (0.03, 1.0)},
    "ja": {"function words": (0.04, 1.0)},
    "vi": {"letters in a word": (2.0, 6.0), "function words": (0.03, 1.0)},
}


def fault(text: str, language: str) -> tuple[str, float] | None:
    """Return the first rule that a text of a language breaks, and its value there; None if none."""
    language = language.split("-")[0].lower()
    bounds = _BOUNDS | _BOUNDS_OF.get(language, {})
    found = code_measures(text) if language == "code" else measures(text, language)
    for name, value in found.items():
        low, high = bounds.get(name, (-math.inf, math.inf))
        if not low <= value <= high:
            return name, value
    return None


def code_measures(text: str) -> dict[str, float]:
    """Return what the rules for code look at: minified and generated files, and data."""
    lines = text.split("\n")
    return {
        "longest line": float(max(map(len, lines))),
        "characters in a line": len(text) / len(lines),
        "letters of code": len(_LETTER.findall(text)) / max(1, len(text)),
    }


def measures(text: str, language: str) -> dict[str, float]:
    """Return what the rules look at: shares from 0 to 1 unless the name says otherwise."""
    solid = _SPACE.sub("", text)
    size = max(1, len(solid))
    letters = len(_LETTER.findall(solid))
    digits = len(_DIGIT.findall(solid))
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    words = ngrams.tokens(text)
    found = {
        "letters": letters / size,
        "digits": digits / size,
        "symbols": 1 - (letters + digits) / size,
        "repeated lines": find_duplicates(lines)[1] / max(1, len(text)),
        # one such line may be what a page is about
        "boilerplate lines": max(0, sum(1 for line in lines if _BOILERPLATE.search(line)) - 1)
        / max(1, len(lines)),
        "menu lines": _menu(lines),
        "repeated phrases": _repeated(words, ngrams.width(language, 5)),
        "commonest phrase": _commonest(words, ngrams.width(language, 2)),
        "letters in a word": float(np.mean([len(word) for word in words])) if words else 0.0,
    }
    if language in _FUNCTION:
        found["function words"] = _function_words(text, words, language)
    if language in _SCRIPT:
        found["script"] = len(_SCRIPT[language].findall(solid)) / max(1, letters)
    if language == "ja":
        found["kana"] = len(_KANA.findall(solid)) / max(1, len(_SCRIPT["ja"].findall(solid)))
    return found


def _menu(lines: list[str]) -> float:
    """Return the share of short lines without an end; a list of a few is no menu."""
    short = sum(len(line) < 30 and line[-1] not in TERMINAL_PUNCTUATION for line in lines)
    return short / len(lines) if len(lines) >= 10 else 0.0


def _repeated(words: list[str], size: int) -> float:
    """Return the share of n-grams that were there before."""
    found = ngrams.hashes(words, size)
    return 1 - len(np.unique(found)) / len(found) if len(found) else 0.0


def _commonest(words: list[str], size: int) -> float:
    """Return the share of words inside the commonest n-gram."""
    found = ngrams.hashes(words, size)
    if not len(found):
        return 0.0
    return int(np.unique(found, return_counts=True)[1].max()) * size / len(words)


def _function_words(text: str, words: list[str], language: str) -> float:
    known = _FUNCTION[language].split()
    if language == "ja":
        return sum(text.count(pair) for pair in known) * 2 / max(1, len(words))
    counts = Counter(words)
    return sum(counts[word] for word in known) / max(1, len(words))
