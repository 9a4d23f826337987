"""Hides what a model must not learn by heart: addresses, numbers of people, keys and passwords."""

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aurora_release.data.clean import national


@dataclass(frozen=True)
class _Kind:
    """A kind of thing to hide: what it looks like, and what a look alone cannot tell."""

    name: str
    placeholder: str
    pattern: re.Pattern[str]
    check: Callable[[re.Match[str]], bool] = lambda match: True
    hints: tuple[str, ...] = ()
    """Strings in lower case; a text without any of them is not searched."""
    number: bool = False
    """A text without a run of six digits and signs is not searched."""


def mask(text: str, pii: bool = True, secrets: bool = True) -> tuple[str, dict[str, int]]:
    """Return a text with placeholders such as <EMAIL>, and how many of each kind there are."""
    kinds = (_SECRETS if secrets else ()) + (_PII if pii else ())
    lower = text.lower()
    numbers = _NUMBER.search(text) is not None
    counts: Counter[str] = Counter()
    for kind in kinds:
        if kind.number and not numbers:
            continue
        if kind.hints and not any(hint in lower for hint in kind.hints):
            continue
        text = kind.pattern.sub(partial(_replaced, kind, counts), text)
    return text, dict(counts)


def _replaced(kind: _Kind, counts: Counter[str], match: re.Match[str]) -> str:
    if not kind.check(match):
        return match.group()
    counts[kind.name] += 1
    if "value" not in kind.pattern.groupindex:
        return kind.placeholder
    start, end = match.span("value")
    whole, origin = match.group(), match.start()
    return whole[: start - origin] + kind.placeholder + whole[end - origin :]


def _is_person(match: re.Match[str]) -> bool:
    """Tell a person's address from documentation's, and from a login of git."""
    name, _, domain = match.group().lower().rpartition("@")
    reserved = re.search(r"(?:^|\.)(?:example\.\w+|example|test|invalid|localhost)$", domain)
    return not reserved and name != "git"


def _is_public(match: re.Match[str]) -> bool:
    """Tell an address of the Internet from one of a private network, and from a version."""
    if _VERSION.search(_before(match)):
        return False
    try:
        address = ipaddress.ip_address(match.group())
    except ValueError:
        return False
    small = address.version == 4 and all(part < 20 for part in address.packed)
    return address.is_global and not small


def _before(match: re.Match[str], characters: int = 40) -> str:
    return match.string[max(0, match.start() - characters) : match.start()]


def _is_phone(match: re.Match[str]) -> bool:
    return 8 <= len(national.digits(match.group())) <= 15


def _is_local_phone(match: re.Match[str]) -> bool:
    return 7 <= len(national.digits(match["value"])) <= 12


def _is_personal(match: re.Match[str]) -> bool:
    """Twelve digits alone say little: a check digit, and the word for the number before it."""
    number, before = match.group(), _before(match)
    if re.search(r"aadhaar|aadhar|uidai|आधार", before, re.I):
        return national.aadhaar(number)
    if re.search(r"マイナンバー|個人番号|my ?number", before, re.I):
        return national.my_number(number)
    if re.search(r"cccd|căn cước|định danh|cmnd|citizen id", before, re.I):
        return national.cccd(number)
    return match["gap"] == " " and national.aadhaar(number)


def _is_password(match: re.Match[str]) -> bool:
    """Tell a password from a name, a path, a placeholder: letters, digits and little order."""
    value = match["value"]
    if _NO_PASSWORD.search(value):
        return False
    if not re.search(r"[0-9]", value) or not re.search(r"[A-Za-z]", value):
        return False
    counts = Counter(value)
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return bits >= 3.3


_VERSION = re.compile(r"(?:versi|release|バージョン|phiên bản|संस्करण|\bv\.?)[^.\n]{0,20}$", re.I)
_NO_PASSWORD = re.compile(
    r"example|your|xxx|change|placeholder|dummy|test|secret|passw|://|\.\.\.|[<>{}$ ]", re.I
)
_NUMBER = re.compile(r"[0-9][0-9 .:()+-]{4,}[0-9]")

# ASCII letters bound these, not \w: Japanese has no space before or after a number
_PII = (
    _Kind(
        "email", "<EMAIL>",
        re.compile(
            r"(?<![A-Za-z0-9_.+%/-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}"
            r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9_@(-])"
        ),
        _is_person, ("@",),
    ),
    _Kind(
        "ip", "<IP>",
        re.compile(r"(?<![A-Za-z0-9_.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![A-Za-z0-9_-]|\.[0-9])"),
        _is_public, (".",), number=True,
    ),
    _Kind(
        "ip", "<IP>",
        re.compile(r"(?<![A-Za-z0-9_:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![A-Za-z0-9_:])"),
        _is_public, (":",),
    ),
    _Kind(
        "personal id", "<PERSONAL_ID>",
        re.compile(r"(?<![A-Za-z0-9_-])[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y](?![A-Za-z0-9_-])"),
        lambda match: national.henkilotunnus(match.group()), number=True,
    ),
    _Kind(
        "personal id", "<PERSONAL_ID>",
        re.compile(
            r"(?<![A-Za-z0-9_.+/-])(?<![0-9] )[0-9]{4}(?P<gap>[ -]?)[0-9]{4}(?P=gap)[0-9]{4}"
            r"(?![A-Za-z0-9_/-]|[ .,:][0-9])"
        ),
        _is_personal, number=True,
    ),
    _Kind(
        "phone", "<PHONE>",
        re.compile(
            r"(?<![A-Za-z0-9_.+)=*/-])\+[1-9][0-9]{0,2}"
            r"(?:[ .-]?\(0?[0-9]{1,4}\))?(?:[ .-]?[0-9]{2,4}){2,5}(?![A-Za-z0-9_/]|[.,][0-9])"
        ),
        _is_phone, ("+",), number=True,
    ),
    _Kind(
        "phone", "<PHONE>",
        re.compile(
            r"(?:\b(?:phone|tel|telephone|mobile|puh|puhelin|gsm|sđt|đt|điện thoại|hotline)\b"
            r"|फ़ोन|फोन|मोबाइल|電話番号|電話|携帯)[.:：\s]{1,3}"
            r"(?P<value>\(?0?[0-9][0-9 ().-]{5,15}[0-9])(?![A-Za-z0-9_/]|[.,][0-9])",
            re.IGNORECASE,
        ),
        _is_local_phone,
        ("phone", "tel", "mobile", "puh", "gsm", "đt", "điện thoại", "hotline", "फ", "मोबाइल",
         "電話", "携帯"),
        number=True,
    ),
)  # fmt: skip

_SECRETS = (
    _Kind(
        "secret", "<SECRET>",
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
            r".{40,20000}?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
            re.DOTALL,
        ),
        hints=("private key",),
    ),
    _Kind(
        "secret", "<SECRET>",
        re.compile(
            r"(?<![A-Za-z0-9_-])(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{36,255}"
            r"|github_pat_[A-Za-z0-9_]{60,255}|glpat-[\w-]{20,64}|xox[abeprs]-[A-Za-z0-9-]{20,250}"
            r"|AIza[\w-]{35}|[rs]k_live_[A-Za-z0-9]{20,250}|sk-(?:ant-|proj-)?[A-Za-z0-9_-]{32,250}"
            r"|hf_[A-Za-z0-9]{34}|npm_[A-Za-z0-9]{36}|pypi-AgE[\w-]{50,250}"
            r"|eyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,2000})(?![A-Za-z0-9_-])"
        ),
        hints=("akia", "asia", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-",
               "xox", "aiza", "k_live_", "sk-", "hf_", "npm_", "pypi-", "eyj"),
    ),
    _Kind(
        "secret", "<SECRET>",
        re.compile(r"hooks\.slack\.com/services/(?P<value>T\w{6,12}/B\w{6,12}/\w{20,30})"),
        hints=("hooks.slack.com",),
    ),
    _Kind(
        "secret", "<SECRET>",
        re.compile(r"://[^\s:/@]{1,64}:(?P<value>[^\s:/@]{8,128})@"),
        _is_password, ("://",),
    ),
    _Kind(
        "secret", "<SECRET>",
        re.compile(
            r"(?:passw(?:or)?d|pwd|secret|token|api_?-?key|access_?-?key|auth)[\w-]{0,24}"
            r"[\"']?\s{0,4}(?:=|:=|:|=>)\s{0,4}[\"'](?P<value>[^\"'\s]{12,256})[\"']",
            re.IGNORECASE,
        ),
        _is_password, ("passw", "pwd", "secret", "token", "key", "auth"),
    ),
)  # fmt: skip
