"""What a text is before it is judged: normalised, cut into windows, its language told."""

import re
import unicodedata

_WINDOW, _STEP = 240, 160
_SENTENCE = (24, 160)
"""Shortest and longest piece, in characters, that is judged on its own."""

# A sentence ends after a mark of a script without spaces, after a line end, after the space that
# follows a full stop, or where the space is left out: between a small letter's full stop and a
# capital. Each place is known by the text up to it and the next character.
_END = re.compile(
    r"""[。！？｡．।॥۔؟።។။\n]|(?<=[.!?…])\s|(?<=[.!?…]["'”’»)\]])\s"""
    r"|(?<=[^\W\d_A-Z])[.!?](?=[A-ZÀ-ÖØ-ÞĐ])"
)
# Where a text may be cut that has no sentence end in reach: behind a space, or behind a clause mark
# of a script without spaces.
_PAUSE = re.compile(r".*[\s、，；：､]", re.DOTALL)
_DROPPED = {"Cc", "Cf", "Cs", "Co", "Cn"}
_STRAY_MARKS = re.compile(r"[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
_MAX_MARKS = 3
"""Combining marks in a row that Devanagari needs at most."""

_VIETNAMESE = re.compile(r"[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]")
_FOREIGN = re.compile(r"[ßüñçøæõłżěščřžàèìòùâêîôûáíóúý¿¡]")
_WORD = re.compile(r"[^\W\d_]+")
_FINNISH_END = re.compile(
    r".{2,}(?:ssa|ssä|sta|stä|lla|llä|lta|ltä|lle|ksi|iin|aan|ään|een|oon|nen|sti|vat|vät|tko|tkö|"
    r"mme|tte|nsa|nsä|ni|isi|taa|tää|ttaa|ttää|ella|ellä|ita|itä|oita|öitä|jen|den|ien|ja|jä|lisi)$"
)
_FINNISH = frozenset(
    """
    ja on ei en et se ne he hän minä sinä me te oli ovat olen olet olla mitä mikä mitkä miten
    miksi missä mistä milloin kuka ketkä kuinka kun jos että tai mutta myös vain niin kuin voi
    voin voiko voit joka jotka tämä tämän nämä tuo sen sitä sille siitä minun sinun hänen oma
    oman omaa anna kerro auta kirjoita haluan pitää saa saan yksi kaksi paljon hyvä hyviä ole
    onko entä sekä eli vai mihin minne monta montako paras näytä neuvo tee teen
    """.split()  # noqa: SIM905
)
_ENGLISH = frozenset(
    """
    the a an and or but if of to in on at by for from with without about into over is are was
    were be been being am do does did done has have had can could will would shall should may
    might must not no yes i you he she it we they me him her us them my your his its our their
    this that these those there here what which who whom whose when where why how than then so
    as all any some each every many much more most other such only own same too very just also
    please give tell write make show explain help want need use get list find name create
    describe let people someone good best way two one first new between during after before up
    out off because while
    """.split()  # noqa: SIM905
)


def normalise(text: str) -> str:
    """Return a text without the characters that hide words from a classifier.

    Compatibility forms become plain ones (NFKC); control, zero-width, unassigned and surrogate
    characters go, so do accents stacked on letters that have no such form; spaces become one.
    """
    text = "".join(
        character if character.isspace() or unicodedata.category(character) not in _DROPPED else ""
        for character in text
    )
    # Surrogates are gone: NFKC cannot fail now.
    text = _STRAY_MARKS.sub("", unicodedata.normalize("NFKC", text))
    return _short_marks(" ".join(text.split()))


def segment_end(text: str, shortest: int, longest: int) -> int:
    """Return where the first segment of a text ends, or 0 while more text could still end it.

    A segment is whole sentences of at least `shortest` characters. Where it would exceed `longest`
    it is cut behind the last space or clause, or anywhere. What follows never moves its end.
    """
    text = text[:longest]
    mark = _END.search(text, shortest - 1)
    if mark:
        return mark.end()
    if len(text) < longest:
        return 0
    pause = _PAUSE.match(text, shortest)
    return pause.end() if pause else longest


def sentences(text: str) -> list[str]:
    """Return a text cut into its segments."""
    found = []
    while end := segment_end(text, *_SENTENCE):
        found.append(text[:end])
        text = text[end:]
    return [*found, text] if text.strip() else found


def windows(text: str) -> list[str]:
    """Return the overlapping pieces of a text; a short text is one piece."""
    starts = range(0, max(len(text) - _WINDOW + _STEP, 1), _STEP)
    return [text[start : start + _WINDOW] for start in starts]


def language(text: str) -> str:
    """Return the language of a normalised text: en, fi, hi, ja, vi, or `und` for any other."""
    text = text.lower()
    letters = [character for character in text if character.isalpha()]
    if not letters:
        return "und"
    scripts = [_script(character) for character in letters]
    if scripts.count("kana") and scripts.count("kana") + scripts.count("han") >= len(letters) / 3:
        return "ja"
    if scripts.count("devanagari") >= len(letters) / 3:
        return "hi"
    if scripts.count("latin") < len(letters) / 2:
        return "und"
    return _latin_language(text, len(letters))


def _latin_language(text: str, letters: int) -> str:
    if len(_VIETNAMESE.findall(text)) >= letters / 20:
        return "vi"
    words = _WORD.findall(text)
    finnish = sum(map(_is_finnish, words))
    english = sum(word in _ENGLISH for word in words)
    best, name = max((english, "en"), (finnish, "fi"))
    foreign = len(_FOREIGN.findall(text))
    return name if best > len(words) / 5 and foreign <= letters / 50 else "und"


def english(text: str) -> float:
    """Return the share of a text's words that are common English ones."""
    words = _WORD.findall(text.lower())
    return sum(word in _ENGLISH for word in words) / max(len(words), 1)


def _is_finnish(word: str) -> bool:
    return word in _FINNISH or "ä" in word or bool(_FINNISH_END.match(word))


def _script(letter: str) -> str:
    code = ord(letter)
    if code < 0x250 or 0x1E00 <= code < 0x1F00:
        return "latin"
    if 0x3040 <= code < 0x3100:
        return "kana"
    if 0x900 <= code < 0x980:
        return "devanagari"
    return "han" if 0x4E00 <= code < 0xA000 else "other"


def _short_marks(text: str) -> str:
    """Return a text in which no letter carries more than three combining marks."""
    run = 0
    kept = []
    for character in text:
        run = run + 1 if unicodedata.category(character).startswith("M") else 0
        if run <= _MAX_MARKS:
            kept.append(character)
    return "".join(kept)
