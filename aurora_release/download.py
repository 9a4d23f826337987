"""Repositories of the Hub come in as folders, at a revision that is pinned and said."""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aurora_release.errors import AuroraError, missing_extra

log = logging.getLogger(__name__)

MODEL_FILES = ("*.json", "*.safetensors", "*.gguf", "*.jinja", "*.model", "merges.txt", "vocab.txt",
               "LICENSE*")  # fmt: skip
"""What a model is read from: no code and no pickle."""

_ID = re.compile(
    r"(?P<name>\w[\w.-]*/\w[\w.-]*)(?P<below>(?:/\w[\w.-]*)*)(?:@(?P<revision>[\w./-]+))?"
)
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Reference:
    """What a Hub id such as `org/name`, `org/name/nf4` or `org/name@v1` names."""

    name: str
    below: str
    """A folder of the repository; empty for all of it."""
    revision: str | None
    """A branch, a tag or a commit; None for the newest."""

    def __str__(self) -> str:
        below = self.below and f"/{self.below}"
        return f"{self.name}{below}@{self.revision}" if self.revision else f"{self.name}{below}"


def reference(text: str) -> Reference | None:
    """Return what a Hub id names; None where `text` is a path, as all that begins in a folder
    here is.
    """
    found = _ID.fullmatch(text)
    if found is None or Path(text.split("/")[0]).exists():
        return None
    return Reference(found["name"], found["below"].lstrip("/"), found["revision"])


def release(text: str) -> Path:
    """Return a release folder: the one at a path, or a whole repository of the Hub.

    Raises:
        AuroraError: the repository cannot be fetched.
    """
    found = reference(text)
    return Path(text) if found is None else _fetch(found, None, ()) / found.below


def model(text: str) -> Path:
    """Return a model folder: the one at a path, or what a model is read from on the Hub.

    Raises:
        AuroraError: the repository cannot be fetched.
    """
    found = reference(text)
    if found is None:
        return Path(text)
    here = f"{found.below}/" if found.below else ""
    return _fetch(found, [here + name for name in MODEL_FILES], [f"{here}*/*"]) / found.below


def _fetch(found: Reference, only: Sequence[str] | None, without: Sequence[str]) -> Path:
    """Return the folder of a repository's commit below HF_HOME, downloaded as far as it is new."""
    what = f"{found} is no folder here, and cannot be fetched"
    if "/" in (found.revision or ""):
        what += f" (a folder of it at a revision is {found.name}/FOLDER@REVISION)"
    elif found.below:
        what = f"{found} is no folder here, and the repository {found.name} cannot be fetched"
    with hub_errors(what):
        from httpx2 import ReadError, RemoteProtocolError, WriteError

        try:
            return _download(found, only, without)
        except (ReadError, RemoteProtocolError, WriteError) as error:
            # a server may close a connection that lay idle just as we use it; what came is kept
            log.info("the connection broke (%s): once more", reason(error))
            return _download(found, only, without)


def _download(found: Reference, only: Sequence[str] | None, without: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, constants

    api = HfApi()
    commit = revision = found.revision or "main"
    if not _COMMIT.fullmatch(revision):
        commit = str(api.repo_info(found.name, revision=revision).sha)
    folder = Path(constants.HF_HOME) / "aurora" / f"{found.name}@{commit[:12]}"
    log.info("%s@%s is commit %s, in %s", found.name, revision, commit, folder)
    api.snapshot_download(
        found.name,
        revision=commit,
        local_dir=folder,
        allow_patterns=only if only is None else list(only),
        ignore_patterns=list(without),
    )
    return folder


@contextmanager
def hub_errors(what: str) -> Iterator[None]:
    """Turn what the Hub's client raises into one sentence that begins with `what`."""
    try:
        from httpx2 import HTTPError
    except ImportError:
        raise missing_extra("huggingface_hub", "publish") from None
    try:
        yield
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise AuroraError(f"{what}: {reason(error)}") from None


def reason(error: BaseException) -> str:
    """Return why a call to the Hub failed, as one sentence without any header or token."""
    from httpx2 import ConnectError
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    known = {
        OfflineModeIsEnabled: "HF_HUB_OFFLINE is set, so that nothing is asked of the Hub.",
        GatedRepoError: "its owner lets in those who asked: ask on its page, then `hf auth login`.",
        RepositoryNotFoundError: "the Hub knows no such repository, or your token may not see it "
        "(`hf auth login`, or HF_TOKEN).",
        RevisionNotFoundError: "the repository has no such revision.",
    }
    for kind, sentence in known.items():
        if isinstance(error, kind):
            return sentence
    if isinstance(error, RuntimeError) and error.__cause__:
        return reason(error.__cause__)
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, ConnectError):
        return f"the Hub cannot be reached ({text[:300]}): see to the connection, or HF_ENDPOINT."
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"the token may not do that (HTTP {status}): `hf auth login` with one that may."
    return f"{text[:300].rstrip('.')}."
