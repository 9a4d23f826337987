import random
import subprocess
import sys
from pathlib import Path

import pytest

from aurora_release import evidence
from aurora_release.card import keys
from aurora_release.card.sign import sign
from aurora_release.card.stage import seal
from aurora_release.card.verify import Check, verify
from aurora_release.errors import AuroraError


def signature(folder: Path, key: Path | None = None) -> Check:
    return next(check for check in verify(folder, key).checks if check.name == "signature")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A private key and its public half."""
    private, public = tmp_path / "release.key", tmp_path / "release.pub"
    keys.new(private)
    public.write_text(keys.public(private), encoding="utf-8")
    return private, public


def model_signing(folder: Path, public: Path) -> subprocess.CompletedProcess[str]:
    """The verifier of the OpenSSF project, as somebody without aurora would call it."""
    return subprocess.run(
        [sys.executable, "-m", "model_signing", "verify", "key", str(folder),
         "--signature", str(folder / "model.sig"), "--public_key", str(public)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_signature_is_said_to_be_missing_unchecked_or_good(
    released: Path, pair: tuple[Path, Path]
) -> None:
    private, public = pair
    assert signature(released).passed is None
    assert "Unsigned" in signature(released).sentence
    assert signature(released, public).passed is False
    before = evidence.digests(released, ())
    sign(released, private)
    after = evidence.digests(released, ())
    assert after.keys() - before.keys() == {"model.sig"}
    assert before.items() <= after.items()
    assert signature(released).passed is None
    assert "key not checked" in signature(released).sentence
    assert evidence.sha256_file(public)[:12] in signature(released).sentence
    assert signature(released, public).passed
    assert verify(released, public).passed


def test_the_project_of_the_format_verifies_the_signature(
    released: Path, pair: tuple[Path, Path]
) -> None:
    sign(released, pair[0])
    done = model_signing(released, pair[1])
    assert done.returncode == 0, done.stderr
    (released / "config.json").write_text("{ }", encoding="utf-8")
    assert model_signing(released, pair[1]).returncode != 0


def test_key_of_somebody_else_does_not_verify(
    released: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    sign(released, pair[0])
    other, public = tmp_path / "other.key", tmp_path / "other.pub"
    keys.new(other)
    public.write_text(keys.public(other), encoding="utf-8")
    found = signature(released, public)
    assert found.passed is False
    assert f"not {public}" in found.sentence
    with pytest.raises(AuroraError, match="none.pub is missing"):
        verify(released, tmp_path / "none.pub")
    with pytest.raises(AuroraError, match="is no public key"):
        verify(released, pair[0])


def test_any_flipped_byte_of_the_signature_is_found(
    released: Path, pair: tuple[Path, Path]
) -> None:
    sign(released, pair[0])
    file, draw = released / "model.sig", random.Random(2024)
    whole = file.read_bytes()
    for place in draw.sample(range(len(whole)), 25):
        changed = bytearray(whole)
        changed[place] ^= 1 << draw.randrange(8)
        file.write_bytes(changed)
        assert signature(released, pair[1]).passed is False or _same(whole, bytes(changed)), place


def _same(one: bytes, two: bytes) -> bool:
    """Whether two bundles differ only where base64 and JSON allow the same thing to be said."""
    from sigstore_models.bundle.v1 import Bundle

    return Bundle.from_json(one) == Bundle.from_json(two)


def test_release_remade_by_somebody_else_does_not_fit_the_signature(
    released: Path, pair: tuple[Path, Path]
) -> None:
    sign(released, pair[0])
    content = evidence.read(released / "evidence.json")
    content["predicate"]["seconds"] = 1.0
    evidence.write(released, content)
    seal(released)
    found = verify(released)
    assert not found.passed
    assert "evidence.json is not what model.sig was made over" in signature(released).sentence


def test_what_the_hub_adds_is_neither_signed_nor_checked(
    released: Path, pair: tuple[Path, Path]
) -> None:
    sign(released, pair[0])
    (released / ".gitattributes").write_text("* text", encoding="utf-8")
    (released / ".cache/huggingface").mkdir(parents=True)
    (released / ".cache/huggingface/x.lock").touch()
    assert verify(released, pair[1]).passed
    assert model_signing(released, pair[1]).returncode == 0
    (released / ".cache/code.py").touch()
    assert not verify(released, pair[1]).passed


def test_a_clone_is_told_from_a_release(released: Path) -> None:
    (released / ".git/hooks").mkdir(parents=True)
    (released / ".git/hooks/post-checkout").touch()
    found = verify(released)
    assert not found.passed
    assert ".git is no part of a release" in found.checks[0].sentence
    assert "hooks" not in found.checks[0].sentence
