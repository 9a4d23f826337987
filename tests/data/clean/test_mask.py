"""What identifies people and opens doors is hidden; ordinary numbers, code and versions stay."""

import pytest

from aurora_release.data.clean.mask import mask
from aurora_release.data.clean.national import aadhaar, my_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Kirjoita: matti.meikalainen@firma.fi.", "Kirjoita: <EMAIL>."),
        ("palvelin 93.184.216.34, portti 80", "palvelin <IP>, portti 80"),
        ("at 2a00:1450:4001:81b::200e now", "at <IP> now"),
        ("Soita +358 40 123 4567 heti", "Soita <PHONE> heti"),
        ("or +1 (415) 555-2671.", "or <PHONE>."),
        ("puh. 040 123 4567", "puh. <PHONE>"),
        ("電話：03-1234-5678まで", "電話：<PHONE>まで"),
        ("điện thoại: 024 3825 3536", "điện thoại: <PHONE>"),
        ("hetu 131052-308T.", "hetu <PERSONAL_ID>."),
        ("tunnus 010594Y9032 on", "tunnus <PERSONAL_ID> on"),
        ("आधार संख्या 2341 2341 2346 है", "आधार संख्या <PERSONAL_ID> है"),
        ("number 2341 2341 2346 here", "number <PERSONAL_ID> here"),
        ("マイナンバーは123456789018です", "マイナンバーは<PERSONAL_ID>です"),
        ("マイナンバー 123456789018", "マイナンバー <PERSONAL_ID>"),
        ("Số CCCD: 001099012345", "Số CCCD: <PERSONAL_ID>"),
        ("key AKIAQ3EGZZ7LYGN2WXYZ;", "key <SECRET>;"),
        (f"t = ghp_{'aB3d' * 9}", "t = <SECRET>"),
        ('db_password = "q8Zr2LpX0vTn"', 'db_password = "<SECRET>"'),
        ("postgres://app:q8Zr2LpX0vTn@db/x", "postgres://app:<SECRET>@db/x"),
        (
            f"-----BEGIN RSA PRIVATE KEY-----\n{'MIIEow' * 20}\n-----END RSA PRIVATE KEY-----",
            "<SECRET>",
        ),
        (f"eyJ{'hbGci' * 4}.eyJ{'zdWIi' * 4}.{'SflKx' * 5}", "<SECRET>"),
    ],
)
def test_what_must_not_be_learnt_is_hidden(text: str, expected: str) -> None:
    assert mask(text)[0] == expected


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com and git@github.com:org/repo.git",
        "version 7.4.7.2 and 10.0.0.1 and 127.0.0.1 and 1.2.3.4",
        "12:30:45 and std::abc::def and dead::beef",
        "years 2019 2020 2021, totals 1200 3400 5600 7800",
        "311352-308T 131052-308A",
        "CCCD: 999099012345",
        "1 234 567 890 123 and 123456789012 and 0.123456789012",
        "x = a +1234567 - 12345678901234567890",
        'password = "your-password-1" and token = get_token() and key: "some_option_name"',
        'TOKEN_URL = "https://host.fi/oauth2/v4/token"',
        'sha = "9f86d081884c7d65"  # not a name of a secret',
    ],
)
def test_ordinary_numbers_and_code_stay(text: str) -> None:
    assert mask(text) == (text, {})


def test_kinds_are_counted_and_each_half_can_be_off() -> None:
    text = f"a@firma.fi b@firma.fi 131052-308T ghp_{'aB3d' * 9}"
    assert mask(text)[1] == {"email": 2, "personal id": 1, "secret": 1}
    assert mask(text, pii=False)[1] == {"secret": 1}
    assert mask(text, secrets=False)[1] == {"email": 2, "personal id": 1}
    masked = mask(text)[0]
    assert mask(masked) == (masked, {})


def test_check_digits_find_every_single_error() -> None:
    for valid, right in ((aadhaar, "234123412346"), (my_number, "123456789018")):
        assert valid(right)
        for place in range(12):
            wrong = [
                right[:place] + digit + right[place + 1 :]
                for digit in "0123456789"
                if digit != right[place]
            ]
            # My Number gives two remainders the check digit 0, so it may miss one of the nine
            assert sum(valid(number) for number in wrong) <= (0 if valid is aadhaar else 1)
