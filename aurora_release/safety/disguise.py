"""What a text says behind a disguise: letters set apart, digits for letters, encoded words."""

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Callable
from urllib.parse import unquote

from aurora_release.safety.escapes import unescape
from aurora_release.safety.text import english, normalise

_LONGEST = 2_000
"""Characters of hidden text that are read at most."""

_APART = 5
"""Single letters in a row, at least, that are read as words with gaps."""

_NO_SPACES = re.compile(r"[\u3040-\u9fff]")
"""Kana and Han, which are written without spaces."""

_DOTTED = re.compile(r"(?<!\w)[^\W\d_](?:([.*_|/·•~+-])[^\W\d_])(?:\1[^\W\d_]){2,}(?!\w)")
# Pairs of a Greek, Cyrillic, Armenian or phonetic letter and the Latin one that it looks like.
_LOOKALIKES = """
    аa вb еe кk мm нh оo рp сc тt уy хx іi ѕs јj ԁd ԛq ԝw һh ӏl АA ВB ЕE КK МM НH ОO РP СC ТT УY ХX
    ІI ЅS ЈJ ԌG ԚQ ԜW αa οo ρp νv κk τt υu χx εe ηn ωw γy ιi ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT
    ΥY ΧX օo սu ոn հh ցg ѵv ıi ɑa ɡg ɩi ʀr ɴn ʏy ʟl ᴀa ᴄc ᴅd ᴇe ᴊj ᴋk ᴍm ᴏo ᴘp ᴛt ᴜu ᴠv ᴡw ᴢz
"""
_LATIN = str.maketrans({pair[0]: pair[1] for pair in _LOOKALIKES.split()})
_LEET = str.maketrans("013457@$!|€", "oieastasiie")
_CODE = re.compile(r"[\dA-Fa-f]{6,}")
_LEET_WORD = re.compile(r"(?<![\w.@])[\w@$!|€]+(?!\.\w)")
_INSIDE = re.compile(r"[^\W\d_][\d@$!|€]+[^\W\d_]")
_BASE64 = re.compile(r"(?<![\w+/=-])(?:[A-Za-z0-9+/_-]{4}\s?){3,}(?:[A-Za-z0-9+/_-]{2,3}={0,2})?")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:(?:0x|\\x)?[0-9A-Fa-f]{2}[\s:,]{0,2}){8,}(?![0-9A-Za-z])")
_ESCAPE = re.compile(r"\\u[\dA-Fa-f]{4}|&#(?:\d{1,7}|[xX][\dA-Fa-f]{1,6});|%[\dA-Fa-f]{2}")
_ESCAPES = 6
"""Escapes, at least, that are read as letters."""
_ROTATED = re.compile(r"[^.!?:;\n\"“”()\[\]<>]{6,}")

Split = Callable[[str], str]
"""Puts the spaces back between words that were written without any."""


def readings(text: str, split: Split) -> list[str]:
    """Return what a text may be read as, normalised: as it stands first, then each disguise undone.

    There are four at most: the text, its letters put together and its digits read as letters, what
    is encoded in it, and what is rotated by thirteen letters.
    """
    plain = normalise(text)
    found = [plain]
    candidates = (_letters(_together(_latin(text), split)), _encoded(plain), _rotated(plain))
    for reading in map(normalise, candidates):
        if reading and reading not in found:
            found.append(reading)
    return found


def _latin(text: str) -> str:
    """Return a text that is Latin for the most part with Latin letters for what looks like one."""
    letters = [character for character in text if character.isalpha()]
    strangers = sum(ord(letter) in _LATIN for letter in letters)
    latin = sum(letter < "\u0250" for letter in letters)
    return text.translate(_LATIN) if strangers and latin >= strangers else text


def _together(text: str, split: Split) -> str:
    """Return a text in which letters set apart by spaces or marks stand together."""
    text = _DOTTED.sub(lambda match: match[0].replace(match[1], ""), text)
    pieces = re.split(r"(\s+)", text)
    words, gaps = pieces[::2], [*pieces[1::2], ""]
    kept: list[str] = []
    start = 0
    while start < len(words):
        end = start
        while end < len(words) and _single(words[end]):
            end += 1
        if end - start >= _APART:
            kept.append(_joined(words[start:end], gaps[start : end - 1], split) + gaps[end - 1])
            start = end
        else:
            kept.append(words[start] + gaps[start])
            start += 1
    return "".join(kept)


def _single(word: str) -> bool:
    """Whether a word is one letter, with the marks on it."""
    letters = [c for c in word if not unicodedata.category(c).startswith("M")]
    return len(letters) == 1 and letters[0].isalnum()


def _joined(letters: list[str], gaps: list[str], split: Split) -> str:
    """Return letters put together; a wider gap is one between words, else words are guessed."""
    narrow = min(map(len, gaps))
    if all(len(gap) == narrow for gap in gaps):
        text = "".join(letters)[:_LONGEST]
        return text if _NO_SPACES.search(text) else split(text)
    text = letters[0]
    for gap, letter in zip(gaps, letters[1:], strict=True):
        text += letter if len(gap) == narrow else " " + letter
    return text


def _letters(text: str) -> str:
    """Return a text with letters in place of digits and signs, if any word has them inside."""
    words = _LEET_WORD.findall(text)
    if not any(_INSIDE.search(word) and not _CODE.fullmatch(word) for word in words):
        return text
    return _LEET_WORD.sub(lambda match: _read_letters(match[0]), text)


def _read_letters(word: str) -> str:
    letters = sum(character.isalpha() for character in word)
    signs = sum(ord(character) in _LEET for character in word)
    mixed = letters and signs and letters + signs == len(word) and signs <= letters + 1
    return word.translate(_LEET) if mixed else word


def _encoded(text: str) -> str:
    """Return what base64 and hexadecimal in a text say, where it is words, and what escapes do."""
    found = []
    if len(_ESCAPE.findall(text)) >= _ESCAPES:
        found.append(unquote(html.unescape(unescape(text)[0])))
    for pattern, decode in ((_HEX, _from_hex), (_BASE64, _from_base64)):
        for match in pattern.finditer(text[: 8 * _LONGEST]):
            said = decode(match[0])
            if said and _is_prose(said):
                found.append(said)
    return " ".join(found)[:_LONGEST]


def _from_hex(code: str) -> str | None:
    try:
        return bytes.fromhex(re.sub(r"0x|\\x|[\s:,]", "", code)).decode()
    except (ValueError, UnicodeDecodeError):
        return None


def _from_base64(code: str) -> str | None:
    plain = re.sub(r"\s", "", code).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _is_prose(text: str) -> bool:
    """Whether decoded bytes are words: letters and spaces, hardly anything else."""
    common = sum(
        c.isalpha() or c.isspace() or unicodedata.category(c).startswith("M") for c in text
    )
    return len(text) >= 6 and common >= 0.8 * len(text) and text.isprintable()


def _rotated(text: str) -> str:
    """Return the parts of a text that are English once their letters are rotated by thirteen."""
    found = []
    for match in _ROTATED.finditer(text[: 2 * _LONGEST]):
        part = match[0]
        turned = codecs.encode(part, "rot13")
        if english(turned) >= max(0.3, 2 * english(part)) and len(turned.split()) >= 3:
            found.append(turned)
    return " ".join(found)[:_LONGEST]
