"""Publishes a release: checked first, sent in one step, fetched back and verified."""

import logging
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aurora_release import evidence
from aurora_release.card import chain, sign, sums
from aurora_release.errors import AuroraError
from aurora_release.publish import copy, repository
from aurora_release.publish.checks import refusals

log = logging.getLogger(__name__)

_FILE = "file://"


@dataclass(frozen=True)
class Target:
    """Where a release goes, and as what."""

    to: str
    """`org/name` on the Hub, or `file:///folder`."""
    private: bool = False
    tag: str | None = None
    """On the Hub; the first digits of the release's digest where none is named."""
    collection: str | None = None
    """The title of a collection of the Hub that the release is added to."""


def publish(folder: Path, target: Target, key: Path | None = None, dry_run: bool = False) -> str:
    """Publish a release and return what was done, or, in a dry run, what would be.

    `key` is the public key that must have signed it.

    Raises:
        AuroraError: something must not go out, and nothing was sent; or the target cannot take it.
    """
    log.info("checking %s", folder)
    sealed = _sealed(folder)
    if wrong := refusals(folder, key):
        raise AuroraError(f"{folder} is not published, and nothing was sent. {' '.join(wrong)}")
    files = {**sums.read(folder), **sealed}
    # what is sent must have these digests, and the list of them be the one that was checked
    if _sealed(folder) != sealed:
        raise AuroraError(
            f"{folder} was built or signed again while it was checked, and nothing was sent: "
            "publish it again."
        )
    if dry_run:
        return plan(folder, target, sorted(files), key)
    if target.to.startswith(_FILE):
        return copy.send(folder, files, path(target.to), key)
    release = repository.Release(folder, files, target.tag or tag(folder))
    return repository.send(release, target.to, target.private, target.collection, key)


def plan(folder: Path, target: Target, files: list[str], key: Path | None = None) -> str:
    """Return what would be sent, as text; nothing is asked of the target."""
    sizes = {name: (folder / name).stat().st_size for name in files}
    lines = [f"{size:>14,}  {name}" for name, size in sizes.items()]
    if target.to.startswith(_FILE):
        where = f"to {path(target.to)}"
    else:
        repository.check_name(target.to)
        visible = "private" if target.private else "public"
        where = f"in one commit to {target.to} ({visible}), tagged {target.tag or tag(folder)}"
    licence = chain.read(folder).recipe.model.license
    total = f"{len(files)} files, {sum(sizes.values()):,} bytes, under {licence}, {where}."
    signed = "It is not signed: `aurora sign` does that."
    if evidence.SIGNATURE in files:
        signer = sign.signer(folder)[:12]
        signed = f"It is signed, as it says with the key {signer}: --key checks that."
        if key:
            signed = f"It is signed with {key} ({signer})."
    return "\n".join([*lines, total, signed, "A dry run: nothing was sent."])


def tag(folder: Path) -> str:
    """Return the tag of a release that is given no other: the same bytes, the same tag."""
    return f"sha256-{evidence.sha256_file(folder / sums.FILE)[:12]}"


def path(url: str) -> Path:
    """Return the folder that a `file:` URL names.

    Raises:
        AuroraError: it names a machine, or no absolute path.
    """
    parts = urlsplit(url)
    if parts.netloc or not parts.path.strip("/"):
        raise AuroraError(f"{url} names no folder here: write file:///folder, with three slashes.")
    return Path(unquote(parts.path))


def _sealed(folder: Path) -> dict[str, str]:
    """Return the digests of the files that the list of a release does not name."""
    names = [name for name in (sums.FILE, evidence.SIGNATURE) if (folder / name).is_file()]
    return {name: evidence.sha256_file(folder / name) for name in names}
