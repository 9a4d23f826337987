"""Publishes to the Hub: one commit on top of the one that was looked at, or nothing."""

import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aurora_release import evidence
from aurora_release.card import sums
from aurora_release.card.verify import verify
from aurora_release.download import hub_errors
from aurora_release.errors import AuroraError, missing_extra

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

log = logging.getLogger(__name__)

_LARGE = 10 * 2**20
"""Bytes from which a file is sent on its own, before the commit, with a line that says so."""
_SECONDS = 120.0
"""Without a byte from the Hub, before a call is given up; its client would wait for ever."""
_MOVED = (409, 412)
_HUBS_OWN = (".gitattributes",)
_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclass(frozen=True)
class Release:
    """A release folder, the files of it that go out, and the tag they get."""

    folder: Path
    files: Mapping[str, str]
    """SHA-256 of each, by name, as it was checked."""
    tag: str


def send(
    release: Release, name: str, private: bool, collection: str | None, key: Path | None
) -> str:
    """Publish a release as one commit of a repository and return what was done.

    It is fetched back and verified; only then it gets its tag and its place in the collection.

    Raises:
        AuroraError: the Hub refuses, somebody else changed the repository meanwhile, or what comes
            back does not verify.
    """
    check_name(name)
    api = _api()
    with hub_errors(f"{name} cannot be published to"):
        parent, deleted = _prepare(api, release, name, private)
        before = _tagged(api, release, name)
    commit = before or _commit(api, release, name, parent, deleted)
    with hub_errors(f"{name} is published as commit {commit}, but what follows failed"):
        _check_back(api, release, name, commit, key)
        api.create_tag(name, tag=release.tag, revision=commit, exist_ok=True)
        if collection:
            _collect(api, name, collection, private)
    said = "Published" if before is None else "Published before, and unchanged"
    with_key = " --key PUBLIC_KEY, which they get from you elsewhere" if key else ""
    return (
        f"{said}: {api.endpoint}/{name}/tree/{release.tag}\n"
        f"Commit {commit}, fetched back and verified.\n"
        f"Others check it with: aurora verify {name}@{release.tag}{with_key}"
    )


def check_name(name: str) -> None:
    """Refuse a target that is no name of a repository."""
    if not _NAME.fullmatch(name):
        raise AuroraError(f"--to {name} is neither org/name on the Hub nor file:///folder.")


def _api() -> "HfApi":
    """Return the Hub's client, which finds the token where `hf auth login` put it.

    Raises:
        AuroraError: there is no token.
    """
    try:
        from huggingface_hub import HfApi, get_session, get_token
    except ImportError:
        raise missing_extra("huggingface_hub", "publish") from None
    if get_token() is None:
        raise AuroraError(
            "There is no token of the Hub: `hf auth login` keeps one, or set HF_TOKEN."
        )
    get_session().timeout = _SECONDS
    return HfApi()


def _prepare(api: "HfApi", release: Release, name: str, private: bool) -> tuple[str, list[str]]:
    """Return the commit that the release goes on top of, and files of an older release to delete.

    Raises:
        AuroraError: the repository is public where it should be private, or holds something else
            than a release.
    """
    api.create_repo(name, private=private, exist_ok=True)
    info = api.repo_info(name, revision="main")
    if private and not info.private:
        raise AuroraError(f"{name} is public, and you asked for a private one: name another.")
    there = set(api.list_repo_files(name, revision=info.sha)) - {*_HUBS_OWN}
    if evidence.SIGNATURE in there and evidence.SIGNATURE not in release.files:
        log.warning("%s holds a signed release, and this one is not signed.", name)
    foreign = sorted(there - {*release.files})
    if foreign and sums.FILE not in there:
        raise AuroraError(
            f"{name} holds something that is no release ({', '.join(foreign[:3])}): name another "
            "repository, or empty this one."
        )
    return str(info.sha), foreign


def _tagged(api: "HfApi", release: Release, name: str) -> str | None:
    """Return the commit that has the release's tag, where it holds this release.

    Raises:
        AuroraError: it holds another one.
    """
    tags = {found.name: found.target_commit for found in api.list_repo_refs(name).tags}
    commit = tags.get(release.tag)
    if commit is None:
        return None
    only = [sums.FILE, evidence.SIGNATURE]
    with tempfile.TemporaryDirectory() as scratch:
        api.snapshot_download(name, revision=commit, local_dir=scratch, allow_patterns=only)
        there = evidence.digests(Path(scratch), ())
    if any(evidence.sha256_file(release.folder / each) != there.get(each)
           for each in only if each in release.files or each in there):  # fmt: skip
        raise AuroraError(
            f"{name} has the tag {release.tag} on other files, and a tag never moves: name another "
            "with --tag."
        )
    return commit


def _commit(api: "HfApi", release: Release, name: str, parent: str, deleted: list[str]) -> str:
    """Return the one commit that holds every file; large files that arrived before stay there."""
    from huggingface_hub import CommitOperationDelete
    from huggingface_hub.errors import HfHubHTTPError

    operations: list[CommitOperationAdd | CommitOperationDelete] = []
    operations += _additions(api, release, name)
    operations += [CommitOperationDelete(path) for path in deleted]
    with hub_errors(f"{name} was not changed"):
        try:
            found = api.create_commit(
                name, operations, commit_message=f"Release {release.tag}", parent_commit=parent
            )
        except HfHubHTTPError as error:
            if error.response.status_code not in _MOVED:
                raise
            raise AuroraError(
                f"{name} was not changed: somebody else committed to it after {parent[:12]}, which "
                "this release was to follow. Look at what they did, then publish again."
            ) from None
    return str(found.oid)


def _additions(api: "HfApi", release: Release, name: str) -> list["CommitOperationAdd"]:
    """Return every file as part of a commit to come, the large ones sent.

    Raises:
        AuroraError: a file is no longer the one that was checked.
    """
    from huggingface_hub import CommitOperationAdd

    additions = []
    for path, digest in sorted(release.files.items()):
        file = release.folder / path
        size = file.stat().st_size
        # the client reads a path again when it commits: a small file goes as the bytes it has now
        additions.append(CommitOperationAdd(path, file if size >= _LARGE else file.read_bytes()))
        if additions[-1].upload_info.sha256.hex() != digest:
            raise AuroraError(
                f"{name} was not changed: {path} was replaced after it was checked. Publish again."
            )
        if size >= _LARGE:
            log.info("sending %s, %.0f MB", path, size / 1e6)
            with hub_errors(f"{name} was not changed: {path} did not arrive; send it again"):
                api.preupload_lfs_files(name, additions[-1:], free_memory=False)
    return additions


def _check_back(api: "HfApi", release: Release, name: str, commit: str, key: Path | None) -> None:
    """Fetch a commit and verify it, beside the release, where there is room for its size."""
    log.info("fetching %s at %s to verify it", name, commit)
    with tempfile.TemporaryDirectory(prefix=".verify-", dir=release.folder.parent) as scratch:
        back = Path(api.snapshot_download(name, revision=commit, local_dir=scratch))
        report = verify(back, key)
        wrong = [found.sentence for found in report.checks if found.passed is False]
        if not wrong and sums.read(back) != sums.read(release.folder):
            wrong = ["It is another release."]
    if wrong:
        raise AuroraError(
            f"{name} is published as commit {commit}, but what comes back does not verify, so it "
            f"got no tag. {' '.join(wrong)}"
        )


def _collect(api: "HfApi", name: str, title: str, private: bool) -> None:
    """Add a repository to its owner's collection of that title, which is made where missing."""
    owner = name.split("/")[0]
    found = api.create_collection(title, namespace=owner, private=private, exists_ok=True)
    api.add_collection_item(found.slug, item_id=name, item_type="model", exists_ok=True)
