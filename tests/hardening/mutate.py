"""What is wrong with files that people and machines send: changes of a valid one, and extremes."""

import json
import math
from contextlib import suppress
from typing import Any, Literal

import yaml
from hypothesis import strategies as st

Form = Literal["json", "yaml", "lines", "override", "text", "binary"]

_SCALARS: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, math.nan,
    math.inf, -math.inf, "", " ", "x", "\x00", "\ud800", "\ufeff", "\u202e", "../../../etc/passwd",
    "/etc/passwd", "~", "a/../../b", "shipped:../../x", "hub:x", "%s{}", "1", "nan", "x" * 5000,
    [], {}, [[]], {"": ""}, [None], {"__metadata__": {}}, "2001-99-99", "0x_",
]  # fmt: skip
_DEEP = [json.loads("[" * n + "]" * n) for n in (50, 200, 900)]
_VALUES = st.sampled_from(_SCALARS) | st.sampled_from(_DEEP) | st.recursive(
    st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
_JUNK = [
    b"\xff", b"\x00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\n", b"\r", b"\xe2\x80\xa8", b'"', b"{",
    b"]", b":", b"&a ", b"*a", b"!!int x", b"!!bool x", b"!!timestamp x", b"!!binary x", b"=",
    b"9" * 5000, b"-", b"\t", b"# ", b"\\ud800",
]  # fmt: skip
_NUMBERS = [0, 1, 0xFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


@st.composite
def _changed(draw: Any, content: Any) -> Any:
    """Return JSON with one place dropped, doubled, renamed, of another type or deeper."""
    if content and isinstance(content, (dict, list)) and draw(st.integers(0, 9)):
        copy: Any = content.copy()
        places = list(content) if isinstance(content, dict) else list(range(len(content)))
        place = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["below", "below", "below", "drop", "double", "rename"]))
        if how == "below":
            copy[place] = draw(_changed(content[place]))
        elif how == "drop":
            del copy[place]
        elif isinstance(copy, list):
            copy.insert(place, copy[draw(st.sampled_from(places))])
        elif how == "double":
            copy[f"{place}2"] = copy[place]
        else:
            copy[draw(st.text(max_size=5))] = copy.pop(place)
        return copy
    how = draw(st.sampled_from(["other", "other", "other", "deeper"]))
    return draw(_VALUES) if how == "other" else [content] if draw(st.booleans()) else {"x": content}


@st.composite
def _garbled(draw: Any, content: bytes, binary: bool) -> bytes:
    """Return bytes that were cut, repeated, flipped or written over."""
    at = draw(st.integers(0, len(content)))
    to = min(len(content), at + draw(st.integers(0, 40)))
    how = draw(st.sampled_from(["cut", "drop", "double", "junk", "flip", "number"]))
    if how == "cut":
        return content[:at]
    if how == "drop":
        return content[:at] + content[to:]
    if how == "double":
        return content[:to] + content[at:]
    if how == "number" and binary:
        size = draw(st.sampled_from([1, 4, 8]))
        number = draw(st.sampled_from(_NUMBERS)) % 256**size
        return content[:at] + number.to_bytes(size, "little") + content[at + size :]
    if how == "flip" and at < len(content):
        return content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
    return content[:at] + draw(st.sampled_from(_JUNK)) + content[at:]


def _written(value: Any, form: Form, plainly: bool) -> bytes:
    if form == "lines":
        rows = value if isinstance(value, list) else [value]
        return b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    if form == "yaml" and plainly:
        with suppress(RecursionError):
            return str(yaml.safe_dump(value, allow_unicode=True)).encode("utf-8", "surrogatepass")
    return json.dumps(value, ensure_ascii=form == "json").encode("utf-8", "surrogatepass")


_KEYS = [
    "train", "stages", "0", "1", "-1", "\u00b2", "9" * 5000, "tokens", "mixture", "name", "data",
    "sources", "seed", "model", "base", "quantize", "gates", "max_rise", "*", "policy",
]  # fmt: skip


@st.composite
def mutated(draw: Any, valid: bytes, form: Form) -> bytes:
    """Return a valid file after one to three changes of what it says or of its bytes."""
    content = valid
    if form == "override" and draw(st.booleans()):
        keys = draw(st.lists(st.sampled_from(_KEYS) | st.text(max_size=5), min_size=1, max_size=5))
        value = _written(draw(_VALUES), "json", False)
        return ".".join(keys).encode("utf-8", "surrogatepass") + b"=" + value
    if form in ("json", "yaml", "lines") and draw(st.integers(0, 4)):
        value = (
            [json.loads(line) for line in valid.splitlines()]
            if form == "lines"
            else yaml.safe_load(valid) if form == "yaml" else json.loads(valid)
        )  # fmt: skip
        for _ in range(draw(st.integers(1, 3))):
            value = draw(_changed(value))
        content = _written(value, form, draw(st.booleans()))
        if draw(st.integers(0, 4)):
            return content
    for _ in range(draw(st.integers(1, 3))):
        content = draw(_garbled(content, form == "binary"))
    return content


def _laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]")
    return "\n".join(lines)


def extremes(form: Form) -> dict[str, bytes]:
    """Return files that are as large, as deep or as odd as they come, by what they are."""
    text = {
        "empty": b"", "a BOM": b"\xef\xbb\xbf", "NUL": b"\x00" * 1000, "no UTF-8": b"\xff" * 1000,
        "UTF-16": "name: x\n".encode("utf-16"), "10 MB of one letter": b"x" * 10**7,
        "a string of 10 MB": b'{"name": "' + b"x" * 10**7 + b'"}',
        "a key of 10 MB": b'{"' + b"x" * 10**7 + b'": 1}',
        "100,000 lists in each other": b"[" * 10**5 + b"]" * 10**5,
        "100,000 objects in each other": b'{"a":' * 10**5 + b"1" + b"}" * 10**5,
        "a number of 10,000 digits": b'{"seed": ' + b"9" * 10**4 + b"}",
        "100,000 unknown keys": json.dumps({f"key{n}": n for n in range(10**5)}).encode(),
        "one key twice": b'{"name": 1, "name": 2}', "NaN": b'{"seed": NaN}',
        "10 MB of empty lines": b"\n" * 10**7, "10 MB of spaces": b" " * 10**7,
    }  # fmt: skip
    odd = {
        "an alias of itself": b"name: &a [*a]", "a map of itself": b"&a {name: *a}",
        "billions of laughs": _laughs(30).encode(), "a thousand laughs": _laughs(4).encode(),
        "a Python object": b"name: !!python/object/apply:os.system [id]",
        "a key that is a list": b"? [a, b]\n: c", "a key that is a date": b"2001-01-01: c",
        "no such day": b"name: 2001-99-99", "no bool": b"name: !!bool x",
        "no time": b"name: !!timestamp x", "no digits": b"name: 0x_",
        "no base64": "x: !!binary é".encode(),
        "two documents": b"--- {}\n--- {}", "merged with itself": b"a: &a\n  <<: *a",
        "infinity": b"{seed: .inf, name: .nan}",
    }  # fmt: skip
    sizes = [number.to_bytes(8, "little") + b"{}" for number in _NUMBERS]
    binary = {f"a header of {int.from_bytes(size[:8], 'little')} bytes": size for size in sizes}
    binary |= {"empty": b"", "zeros": bytes(10**6), "ones": b"\xff" * 10**6}
    binary["a deep header"] = (2 * 10**5).to_bytes(8, "little") + b"[" * 10**5 + b"]" * 10**5
    return binary if form == "binary" else text | odd if form == "yaml" else text
