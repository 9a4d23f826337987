"""Signatures of releases, in the format of OpenSSF model-signing: a Sigstore bundle in the folder.

ECDSA draws a random number for every signature, so the signature is the one file of a release that
is not the same each time; neither SHA256SUMS nor evidence lists it.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aurora_release import atomic, evidence, parse
from aurora_release.card import keys
from aurora_release.errors import AuroraError, missing_extra

FILE = evidence.SIGNATURE

_IGNORED = (FILE, ".cache")
"""Not signed: the signature itself, and what `hf download` leaves in a folder."""


def sign(folder: Path, key: Path) -> None:
    """Write the signature of every file below `folder`; an older one is replaced.

    Raises:
        AuroraError: the key cannot be used.
    """
    try:
        from model_signing import hashing, signing
    except ImportError:
        raise missing_extra("model_signing", "sign") from None
    keys.public(key)
    partial = folder.parent / f".{folder.name}.{os.getpid()}.sig"
    ignored = hashing.Config().set_ignored_paths(paths=_IGNORED)
    try:
        (
            signing.Config()
            .use_elliptic_key_signer(private_key=key)
            .set_hashing_config(ignored)
            .sign(folder, partial)
        )
        atomic.write_bytes(folder / FILE, partial.read_bytes())
    finally:
        partial.unlink(missing_ok=True)


def check(folder: Path, key: Path) -> str | None:
    """Return why the signature of a folder does not hold for a public key, or None.

    Raises:
        AuroraError: the public key cannot be read.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from model_signing import verifying
    except ImportError:
        raise missing_extra("model_signing", "sign") from None
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (OSError, ValueError, AttributeError):
        raise AuroraError(
            f"{key} is no public key in PEM: `aurora keys public` writes one from a private key."
        ) from None
    try:
        config.verify(folder, folder / FILE)
    except InvalidSignature:
        return f"{FILE} was changed, or was not made with this key."
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        if "key mismatch" in str(error).lower():
            return f"{FILE} says that it was made with the key {signer(folder)[:12]}, not {key}."
        return f"{FILE} does not hold: {' '.join(str(error).split())}"
    return None


def signer(folder: Path) -> str:
    """Return the SHA-256 of the public key that a signature says it was made with.

    Raises:
        AuroraError: it is not a signature.
    """
    return str(_bundle(folder)["verificationMaterial"]["publicKey"]["hint"])


def differences(folder: Path, found: Mapping[str, str]) -> list[str]:
    """Return a sentence for each file that is not what the signature says; no key is needed.

    Raises:
        AuroraError: it is not a signature.
    """
    signed = {
        str(entry["name"]): str(entry["digest"])
        for entry in _bundle(folder)["payload"]["predicate"]["resources"]
    }
    return [
        f"{name} is not what {FILE} was made over."
        for name in sorted(found.keys() | signed.keys())
        if found.get(name) != signed.get(name)
    ]


def _bundle(folder: Path) -> dict[str, Any]:
    """Return the Sigstore bundle of a folder, its payload decoded."""
    try:
        if not (folder / FILE).is_file():
            raise ValueError("no file")
        bundle = parse.json_text(parse.content(folder / FILE))
        packed = bundle["dsseEnvelope"]["payload"]
        payload = parse.json_text(base64.b64decode(packed, validate=True))
        bundle["verificationMaterial"]["publicKey"]["hint"]
        for entry in payload["predicate"]["resources"]:
            entry["name"], entry["digest"]
    except (OSError, ValueError, KeyError, TypeError, binascii.Error):
        raise AuroraError(f"{FILE} is not a signature that a key has made.") from None
    return {**bundle, "payload": payload}
