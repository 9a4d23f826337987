"""Keys that sign releases: an elliptic curve key in a file of its own, and its public half."""

from pathlib import Path

from aurora_release import atomic
from aurora_release.errors import AuroraError, missing_extra


def new(path: Path) -> None:
    """Write a new private key (ECDSA on P-256, PKCS 8 in PEM) that only its owner can read.

    Raises:
        AuroraError: something lies at `path`, or its folder is missing.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )
    except ImportError:
        raise missing_extra("cryptography", "sign") from None
    key = ec.generate_private_key(ec.SECP256R1())
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        atomic.write_new(path, content, 0o600)
    except FileExistsError:
        raise AuroraError(f"{path} exists, and a key is never overwritten: name another.") from None
    except (FileNotFoundError, NotADirectoryError):
        raise AuroraError(f"{path.parent} is no folder: make it, or name another file.") from None


def public(path: Path) -> str:
    """Return the public half of a private key, in PEM.

    Raises:
        AuroraError: the file is missing or is no unencrypted private key on a curve that signs.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            PublicFormat,
            load_pem_private_key,
        )
    except ImportError:
        raise missing_extra("cryptography", "sign") from None
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (FileNotFoundError, IsADirectoryError):
        raise AuroraError(f"{path} is no file; `aurora keys new {path}` makes a key.") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuroraError(
            f"{path} is no private key of `aurora keys new` (an elliptic curve key in PEM without "
            "a password)."
        )
    found = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found.decode()
