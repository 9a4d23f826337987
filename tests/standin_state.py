"""What the stand-in for the Hub holds: repositories, their files, and what goes wrong."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class File:
    """A file of a commit; its content lies in the folder of blobs."""

    sha256: str
    size: int
    lfs: bool
    oid: str  # git's own digest of the blob, or of the pointer to it


@dataclass(frozen=True)
class Commit:
    """A commit and the whole tree at it."""

    oid: str
    title: str
    files: dict[str, File]


@dataclass
class Repo:
    """A repository with one branch."""

    private: bool
    commits: list[Commit] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> Commit | None:
        """Return the commit that a branch, a tag or a digest names."""
        oid = self.commits[-1].oid if revision == "main" else self.tags.get(revision, revision)
        return next((commit for commit in self.commits if commit.oid == oid), None)

    def add(self, title: str, files: dict[str, File]) -> Commit:
        """Put a commit on top of the branch."""
        text = json.dumps([title, len(self.commits), sorted((n, f.oid) for n, f in files.items())])
        self.commits.append(Commit(hashlib.sha1(text.encode()).hexdigest(), title, files))
        return self.commits[-1]


@dataclass
class Fault:
    """What goes wrong with calls whose `METHOD path` contains `where`, for so many times."""

    where: str
    how: Literal["error", "drop", "stall", "move"]
    times: int = 1


class StandIn:
    """The state of the stand-in, what it was asked, and what it is to do wrong."""

    def __init__(self, blobs: Path) -> None:
        self.blobs = blobs
        self.repos: dict[str, Repo] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.faults: list[Fault] = []
        self.calls: list[str] = []  # `METHOD path` of every call
        self.stored: list[str] = []  # SHA-256 of each large file that arrived whole

    def fail(self, where: str, how: Any, times: int = 1) -> None:
        """Let the next calls that fit fail."""
        self.faults.append(Fault(where, how, times))

    def keep(self, content: bytes) -> File:
        """Keep a blob and return it as a file."""
        digest = hashlib.sha256(content).hexdigest()
        (self.blobs / digest).write_bytes(content)
        return File(digest, len(content), False, _git_oid(content))

    def kept(self, digest: str) -> File:
        """Return a large file that has arrived."""
        size = (self.blobs / digest).stat().st_size
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n"
        return File(digest, size, True, _git_oid(text.encode()))

    def move(self) -> None:
        """Let somebody else commit to every repository."""
        for repo in self.repos.values():
            files = dict(repo.commits[-1].files)
            files["theirs.txt"] = self.keep(b"somebody else was here")
            repo.add("Somebody else's commit", files)


def _git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%s" % (len(content), content)).hexdigest()
