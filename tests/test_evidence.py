"""Evidence is canonical, and reads back as it was written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_release import evidence
from aurora_release.errors import AuroraError

FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | FINITE,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_canonical_form_is_a_fixed_point(value: object) -> None:
    import json

    once = evidence.canonical(value)
    assert evidence.canonical(json.loads(once)) == once


def test_order_of_keys_does_not_matter() -> None:
    assert evidence.canonical({"b": 1, "a": 2}) == evidence.canonical({"a": 2, "b": 1})


def test_canonical_form_is_the_same_in_every_version() -> None:
    value = {"b": [1.23456789012, True, None], "a": {"ä": ("猫", 10**20)}}
    assert evidence.canonical(value).decode() == (
        '{"a":{"ä":["猫",100000000000000000000]},"b":[1.23456789,true,null]}'
    )


def test_what_json_has_no_word_for_cannot_be_evidence() -> None:
    with pytest.raises(TypeError, match="set cannot be evidence"):
        evidence.canonical({"loss": {1.5}})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_no_number_cannot_be_evidence(number: float) -> None:
    with pytest.raises(ValueError, match="cannot be evidence"):
        evidence.canonical({"loss": number})


def test_digests_cover_every_file_but_the_evidence(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1")
    (tmp_path / evidence.FILE).write_bytes(b"2")
    assert evidence.digests(tmp_path) == {"a/x": evidence.sha256(b"1")}


def test_whoever_waits_is_told_of_every_byte(tmp_path: Path) -> None:
    large = b"x" * (2**20 + 5)
    (tmp_path / "large").write_bytes(large)
    (tmp_path / "small").write_bytes(b"1")
    told: list[int] = []
    assert evidence.digests(tmp_path, done=told.append)["large"] == evidence.sha256(large)
    assert sum(told) == len(large) + 1


def test_digests_of_code_leave_out_what_is_not_python(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "b.py").write_bytes(b"1")
    (tmp_path / "a.py").write_bytes(b"2")
    (tmp_path / "a.pyc").write_bytes(b"3")
    found = evidence.digests_of_code(tmp_path)
    assert found == {"a.py": evidence.sha256(b"2"), "room/b.py": evidence.sha256(b"1")}


def test_statement_reads_back(tmp_path: Path) -> None:
    content = evidence.statement({"x": "00"}, {"measured": {"loss": 1.5}})
    evidence.write(tmp_path, content)
    found = evidence.read(tmp_path / evidence.FILE)
    assert evidence.subject(found) == {"x": "00"}
    assert evidence.measured(found) == {"loss": 1.5}
    assert found["_type"] == "https://in-toto.io/Statement/v1"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "not valid JSON"), (b"{}", "not evidence"), (b"[]", "not evidence")],
)
def test_damaged_evidence_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / evidence.FILE).write_bytes(content)
    with pytest.raises(AuroraError, match=message):
        evidence.read(tmp_path / evidence.FILE)


@pytest.mark.parametrize(
    ("subject", "predicate"),
    [
        ({"x": 0}, {"measured": {}}),
        ({"x": "00"}, {"measured": []}),
        ({"x": "00"}, {}),
    ],
)
def test_evidence_that_lost_a_part_is_refused(
    tmp_path: Path, subject: dict[str, str], predicate: dict[str, object]
) -> None:
    evidence.write(tmp_path, evidence.statement(subject, predicate))
    with pytest.raises(AuroraError, match="is not complete evidence of a stage: it was changed"):
        evidence.read(tmp_path / evidence.FILE)


def test_missing_evidence_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        AuroraError, match=r"evidence\.json is missing: this folder was not written"
    ):
        evidence.read(tmp_path / evidence.FILE)


def test_a_folder_has_a_digest_of_its_names_and_contents(tmp_path: Path) -> None:
    def made(name: str, **files: str) -> str:
        for file, content in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(content, encoding="utf-8")
        return evidence.sha256_path(tmp_path / name)

    same = made("a", x="1", y="2")
    assert made("b", y="2", x="1") == same
    assert len({same, made("c", x="1", z="2"), made("d", x="1", y="3"), made("e", x="1")}) == 4
    assert made("b", **{evidence.FILE: "{}"}) != same
    (tmp_path / "f").write_text("1", encoding="utf-8")
    assert evidence.sha256_path(tmp_path / "f") == evidence.sha256_file(tmp_path / "f")
