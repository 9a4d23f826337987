"""Numbers that states give people: which digits can be one."""

_HETU = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# the dihedral group of order 10, and the permutation of places (Verhoeff 1969)
_TIMES = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_TURN = (
    "0123456789", "1576283094", "5803796142", "8916043527",
    "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip
# codes of provinces: Circular 07/2016/TT-BCA, annex 1
_PROVINCES = {
    1, 2, 4, 6, 8, 10, 11, 12, 14, 15, 17, 19, 20, 22, 24, 25, 26, 27, 30, 31, 33, 34, 35, 36, 37,
    38, 40, 42, 44, 45, 46, 48, 49, 51, 52, 54, 56, 58, 60, 62, 64, 66, 67, 68, 70, 72, 74, 75, 77,
    79, 80, 82, 83, 84, 86, 87, 89, 91, 92, 93, 94, 95, 96,
}  # fmt: skip


def digits(text: str) -> str:
    """Return the ASCII digits of a text."""
    return "".join(character for character in text if character in "0123456789")


def henkilotunnus(text: str) -> bool:
    """Return whether a text is a Finnish personal identity code: DDMMYY, century, number, check."""
    day, month, number = int(text[:2]), int(text[2:4]), int(text[7:10])
    if not 1 <= month <= 12 or not 1 <= day <= _MONTHS[month - 1] or number < 2:
        return False
    return _HETU[int(text[:6] + text[7:10]) % 31] == text[10].upper()


def aadhaar(text: str) -> bool:
    """Return whether a text is an Indian Aadhaar number: 12 digits whose Verhoeff sum is 0."""
    number = digits(text)
    groups = [number[:4], number[4:8], number[8:]]
    if number[0] in "01" or all("1900" <= group <= "2100" for group in groups):
        return False
    total = 0
    for place, digit in enumerate(reversed(number)):
        total = int(_TIMES[total][int(_TURN[place % 8][int(digit)])])
    return total == 0


def my_number(text: str) -> bool:
    """Return whether a text is a Japanese individual number: 12 digits, the last one a check.

    Source: Order of the Ministry of Internal Affairs and Communications no. 85 of 2014, article 5.
    """
    number = [int(digit) for digit in digits(text)]
    left = sum(
        digit * (place + 1 if place <= 6 else place - 5)
        for place, digit in enumerate(reversed(number[:11]), 1)
    )
    return number[11] == (0 if left % 11 <= 1 else 11 - left % 11)


def cccd(text: str) -> bool:
    """Return whether a text can be a Vietnamese citizen number: province, century and sex."""
    number = digits(text)
    return int(number[:3]) in _PROVINCES and number[3] in "0123"
