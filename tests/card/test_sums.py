from pathlib import Path

import pytest

from aurora_release.card import sums
from aurora_release.errors import AuroraError
from aurora_release.evidence import sha256


def test_list_gives_back_what_lies_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("a", "b/ö ä.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    sums.write(tmp_path)
    assert sums.read(tmp_path) == {name: sha256(name.encode()) for name in ("a", "b/ö ä.txt")}


@pytest.mark.parametrize("name", ["a\nb", "a\\b"])
def test_name_the_format_cannot_spell_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(AuroraError, match="rename"):
        sums.write(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b"])
def test_name_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    body = f"{'0' * 64}  {name}\n"
    last = f"# sha256 of the lines above: {sha256(body.encode())}\n"
    (tmp_path / "SHA256SUMS").write_text(body + last, encoding="utf-8")
    with pytest.raises(AuroraError, match="outside"):
        sums.read(tmp_path)


@pytest.mark.parametrize("content", ["", "\n", "# sha256 of the lines above: 0\n", "\xff"])
def test_list_that_does_not_prove_itself_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "SHA256SUMS").write_bytes(content.encode("latin-1"))
    with pytest.raises(AuroraError, match="SHA256SUMS was changed"):
        sums.read(tmp_path)
