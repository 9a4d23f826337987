"""Runs stages in order into a run folder and skips what is already true."""

import errno
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aurora_release import atomic, evidence
from aurora_release.environment import environment
from aurora_release.errors import AuroraError
from aurora_release.log import nothing_on_stdout
from aurora_release.recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What a stage is given: the recipe, a folder to write, and the folders of earlier stages."""

    recipe: Recipe
    beside: Path
    """The folder that relative paths of the recipe start from."""
    folder: Path
    """Written here; renamed when whole."""
    before: Mapping[str, Path]
    """Finished folders of the stages before, by name."""


@dataclass(frozen=True)
class Stage:
    """A step that takes finished folders and writes one."""

    name: str
    after: tuple[str, ...]
    decides: Any
    """The part of the recipe that decides the result, as JSON."""
    work: Callable[[Job], dict[str, Any]]
    """Writes into the job's folder and returns what was measured."""
    inputs: Mapping[str, Path] = field(default_factory=dict)
    """Files and folders from outside the run, by the name that evidence gives them."""
    resumes: bool = False
    """Whether half-written work of the same stage is kept and continued."""
    seal: Callable[[Path], None] | None = None
    """Called last, with the evidence in place."""
    stands: Callable[[Path], bool] = lambda folder: True
    """Whether this version of aurora would still write what lies in a finished folder."""


def run(
    recipe: Recipe,
    beside: Path,
    stages: list[Stage],
    folder: Path,
    redo: frozenset[str] = frozenset(),
) -> dict[str, bool]:
    """Make every stage true in `folder` and return {stage: whether it had to be done}.

    Raises:
        AuroraError: another run holds the folder, an input is missing, or a stage cannot be done.
    """
    done: dict[str, bool] = {}
    with _locked(folder), nothing_on_stdout():
        for stage in stages:
            before = {name: folder / name for name in stage.after}
            job = Job(recipe, beside, folder / f"{stage.name}.partial", before)
            key = _key(stage, before)
            made = folder / stage.name
            done[stage.name] = (
                stage.name in redo or not _is_true(made, key) or not stage.stands(made)
            )
            if done[stage.name]:
                _do(stage, job, folder / stage.name, key)
            else:
                log.info("%-14s unchanged, skipped", stage.name)
    return done


def previous(before: Mapping[str, Path]) -> dict[str, str]:
    """Return {stage: SHA-256 of its evidence}: the links of the chain."""
    return {
        name: evidence.sha256_file(folder / evidence.FILE)
        for name, folder in sorted(before.items())
    }


def _key(stage: Stage, before: Mapping[str, Path]) -> dict[str, Any]:
    """Return everything that decides a stage's result; equal keys mean nothing to do."""
    inputs = {}
    for name, path in stage.inputs.items():
        if not path.exists():
            raise AuroraError(f"{path} is missing: the recipe names it as {name}.")
        inputs[name] = evidence.sha256_path(path)
    links = previous(before)
    return {"stage": stage.name, "recipe": stage.decides, "inputs": inputs, "previous": links}


def _is_true(folder: Path, key: dict[str, Any]) -> bool:
    """Return whether a finished folder was made from `key` and still holds what it held then."""
    if not (folder / evidence.FILE).is_file():
        return False
    found = evidence.read(folder / evidence.FILE)
    if any(found["predicate"].get(name) != evidence.plain(value) for name, value in key.items()):
        return False
    return evidence.subject(found) == evidence.digests(folder, _BESIDE)


def _do(stage: Stage, job: Job, final: Path, key: dict[str, Any]) -> None:
    """Do a stage in its partial folder and rename it into place with its evidence."""
    began = time.time()
    if stage.seal is None and _is_true(job.folder, key):
        log.info("%-14s was done, but not put in its place", stage.name)
    else:
        _make(stage, job, key)
    # before the rename: after it nothing comes that could fail and leave this behind
    (job.folder / _KEY).unlink(missing_ok=True)
    signed = (final / evidence.SIGNATURE).exists()
    if final.exists():
        shutil.rmtree(final)
    atomic.publish_folder(job.folder, final)
    log.info("%-14s done in %.0f s", stage.name, time.time() - began)
    if signed:
        log.warning("%-14s its signature was of what lay there before: sign it again", stage.name)


def _make(stage: Stage, job: Job, key: dict[str, Any]) -> None:
    """Do the work of a stage in its partial folder and write its evidence."""
    _prepare(stage, job.folder, key)
    log.info("%-14s started", stage.name)
    began = time.time()
    measured = _work(stage, job)
    predicate = {**key, "environment": environment(), "measured": measured}
    if stage.seal is None:
        # what is sealed for others is the same bytes each time it is built
        predicate["seconds"] = time.time() - began
    subject = evidence.digests(job.folder, _BESIDE)
    evidence.write(job.folder, evidence.statement(subject, predicate))
    if stage.seal:
        (job.folder / _KEY).unlink()  # a seal lists every file
        stage.seal(job.folder)


def _work(stage: Stage, job: Job) -> dict[str, Any]:
    """Return what a stage measured; a full disk is called one, whatever a library made of it."""
    try:
        return stage.work(job)
    except Exception as error:
        if shutil.disk_usage(job.folder).free < 2**20:
            full = errno.ENOSPC
            raise OSError(full, os.strerror(full), str(job.folder)) from error
        raise


_KEY = ".key.json"
_BESIDE = (evidence.FILE, evidence.SUMS, evidence.SIGNATURE, _KEY)
"""What evidence does not name: itself, and what comes before and after it."""


def _prepare(stage: Stage, partial: Path, key: dict[str, Any]) -> None:
    """Leave an empty partial folder, or the one that an interrupted run of the same key left."""
    content = evidence.canonical(key)
    left = partial / _KEY
    if stage.resumes and left.is_file() and left.read_bytes() == content:
        log.info("%-14s continues where it stopped", stage.name)
        return
    if partial.exists():
        if stage.resumes and left.is_file():
            log.info("%-14s begins anew: what was left unfinished is of another recipe", stage.name)
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    atomic.write_bytes(left, content)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run folder; the lock goes when the process does, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AuroraError(
                f"{folder} is in use by another run (process {holder}). Wait for it, stop it, "
                "or choose another folder with --runs."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
