"""What others wrote is read in bounded memory, or a ValueError says what is wrong with it."""

from pathlib import Path

import pytest

from aurora_release import parse
from aurora_release.errors import AuroraError
from aurora_release.serve import keys


def _laughs(levels: int) -> str:
    lines = ["a0: &a0 [" + ", ".join(["ha"] * 10) + "]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nname: a\nseed: 2", "line 3.*the key seed is there twice"),
        (_laughs(9), "more than 1,000,000 values"),
        ("a: &a [*a]", "an alias lies in itself"),
        ("[" * 200 + "]" * 200, "more than 100 lists"),
        ("a: !!bool x", "a value is not of its type"),
        ("a: !!timestamp x", "a value is not of its type"),
        ("a: 2001-99-99", "a value is not of its type"),
        ("a: " + "9" * 5000, "a value is not of its type"),
        ("a: \x00", "special characters are not allowed"),
    ],
)
def test_yaml_that_is_no_sound_text_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse.yaml_text(text)


def test_anchors_and_merged_keys_may_be_used() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: *a\nd: {<<: *a}"
    a = {"x": 1, "y": 2}
    assert parse.yaml_text(text) == {"a": a, "b": {"x": 3, "y": 2}, "c": a, "d": a}
    assert len(parse.yaml_text(_laughs(4))) == 4


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    endless = tmp_path / "endless.yaml"
    endless.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="larger than 4 MiB"):
        parse.yaml_file(endless)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": NaN}', "NaN is no number"),
        ("[1, -Infinity]", "-Infinity is no number"),
        ("[" * 200 + "]" * 200, "more than 100 lists"),
        ("[" * 10**5 + "]" * 10**5, "more than 100 lists"),
        ('{"a": ' + "9" * 5000 + "}", "4300"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_no_sound_text_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse.json_text(text)


def test_json_in_a_hundred_lists_is_read() -> None:
    assert parse.json_text("[" * 99 + "1" + "]" * 99)
    assert parse.json_text("null") is None


def test_a_key_is_read_and_what_holds_none_is_said(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(AuroraError, match="cannot be read as a key"):
        parse.key_file(path)
    made = keys.add(tmp_path / "keys", "alice", keys.KeyLimits(tokens_per_minute=5))
    path.write_text(f"{made}\n", encoding="utf-8")
    assert parse.key_file(path) == made
    for text, said in {"": "holds no API key", "schlüssel": "ASCII", "a\nb": "one line"}.items():
        path.write_text(text, encoding="utf-8")
        with pytest.raises(AuroraError, match=said):
            parse.key_file(path)
    with pytest.raises(AuroraError, match="the server's file of keys.* as `aurora keys api`"):
        parse.key_file(tmp_path / "keys")


def test_a_mistake_in_yaml_has_its_line_and_no_name_of_a_string() -> None:
    with pytest.raises(ValueError, match=r"^line 3, column 6: expected ',' or '}'.* from line 2"):
        parse.yaml_text("name: x\nharm: {input: block\nother: 1\n")
