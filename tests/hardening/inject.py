"""Runs a command again and again, and lets another of its writes fail each time.

The failing is done below the C library (`inject.c`, LD_PRELOAD), so everything that writes is met:
ours and the libraries'. A command runs in a child forked from here, so that what it imports is
imported once.
"""

import ctypes
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aurora_release.errors import AuroraError
from aurora_release.evidence import sha256, sha256_file

KINDS = {"full": (28, 1), "broken": (5, 0), "read-only": (30, 1)}
"""errno, and whether all later writes fail too: a disk is full, a write fails once, no writing."""

_PLAN = struct.Struct("lllll4096s")
_SECONDS = 3600
"""What a command may take; generous, for a machine that many share."""
_MEASURED = {
    "tokens_per_second", "energy", "peak", "peak_memory_bytes", "memory", "mfu", "watts",
    "previous", "subject",
}  # fmt: skip
"""Keys of JSON that a clock or a meter decides, and digests of files that hold such."""
_DRAWN = ("mfu.png", "tokens-per-second.png", "report.html")
"""Files of a trained stage that show them; that they are whole, its evidence proves."""


@dataclass(frozen=True)
class Command:
    """Something that writes."""

    name: str
    prepare: Callable[[Path], None]
    """Makes the folder that the command is run in."""
    act: Callable[[Path], None]
    """The command, run in that folder; ends as `aurora` does."""
    whole: Callable[[Path], None] = lambda folder: None
    """Reads what is there as a reader would; raises where it takes a part for the whole."""
    ours: Callable[[Path], object] = lambda folder: None
    """Returns what must be the same in the end; of the files' bytes, where it returns None."""
    refuses: str = ""
    """What it says the second time where the first time did all but the last sync."""
    goes_on: bool = False
    """Whether a failed write does not end it: it says so, and goes on."""
    imports: tuple[str, ...] = ()


@dataclass
class Tried:
    """What came of one kind of fault in all writes of a command."""

    command: str
    kind: str
    writes: int
    """Changes that the command makes when left alone."""
    tried: int = 0
    failures: list[str] = field(default_factory=list)


def build(folder: Path) -> Path:
    """Compile what makes writes fail; return the library."""
    library = folder / "inject.so"
    source = Path(__file__).with_name("inject.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def start(arguments: Sequence[str], own: bool = True) -> subprocess.CompletedProcess[str]:
    """Run this module below the library in a new process; what it says is returned, or not."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = {
            **os.environ, "LD_PRELOAD": str(build(Path(scratch))), "OMP_NUM_THREADS": "1",
            "HF_HOME": str(Path(scratch) / "home"),
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.hardening.inject", *arguments]
        return subprocess.run(command, env=environment, check=False, capture_output=own, text=True)


def try_all(command: Command, kind: str, most: int) -> Tried:
    """Let every write of a command fail in turn, or `most` of them, evenly spread."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        before, work, log = scratch / "before", scratch / "work", scratch / "log"
        before.mkdir()
        for module in command.imports:
            __import__(module)
        code = _forked(lambda: command.prepare(before), scratch / "prepared")
        assert code == 0, (scratch / "prepared").read_text("utf-8")
        _again(before, work)
        code, writes, _ = _run(command, work, scratch, "full", 0)
        assert code == 0, log.read_text("utf-8")
        right, start = _state(command, work), _state(command, before)
        tried = Tried(command.name, kind, writes)
        for at in _spread(writes, most):
            _again(before, work)
            code, _, failed = _run(command, work, scratch, kind, at)
            if not failed:
                continue
            tried.tried += 1
            said = log.read_text("utf-8")
            wrong = _wrong(command, code, said, work) + _torn(command, work, start, right)
            if code or command.goes_on:
                code, _, _ = _run(command, work, scratch, kind, 0)
                last = _last(log.read_text("utf-8"))
                if code == 2 and command.refuses and command.refuses in last:
                    code = 0
                elif code:
                    wrong.append(f"again, exit code {code}: {last}")
            if code == 0 and _state(command, work) != right:
                wrong.append(f"afterwards not the same: {_differing(_state(command, work), right)}")
            tried.failures += [f"write {at}: {sentence}" for sentence in wrong]
        return tried


def _again(before: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(before, work, symlinks=True)
    (work / "tmp").mkdir(exist_ok=True)


def _spread(writes: int, most: int) -> list[int]:
    if writes <= most:
        return list(range(1, writes + 1))
    return sorted({1 + at * (writes - 1) // (most - 1) for at in range(most)})


def _run(command: Command, work: Path, scratch: Path, kind: str, at: int) -> tuple[int, int, int]:
    """Run a command with a fault; return its exit code, its writes, and how many failed."""
    plan = scratch / "plan"
    error, on = KINDS[kind]
    plan.write_bytes(_PLAN.pack(at, error, on, 0, 0, str(work).encode()))

    def act() -> None:
        os.chdir(work)
        os.environ |= {"TMPDIR": str(work / "tmp"), "WRITE_FAULTS": str(plan)}
        tempfile.tempdir = None
        ctypes.CDLL(None).faults_load()
        command.act(work)

    code = _forked(act, scratch / "log")
    _, _, _, seen, failed, _ = _PLAN.unpack(plan.read_bytes())
    return code, seen, failed


def _forked(act: Callable[[], None], log: Path) -> int:
    """Do something in a child that ends as `aurora` does; return its exit code."""
    child = os.fork()
    if not child:
        code = 70
        try:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            signal.alarm(_SECONDS)
            act()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _wrong(command: Command, code: int, said: str, work: Path) -> list[str]:
    """Return what is wrong with how a command ended, and with what it left."""
    wrong = []
    if "Traceback" in said:
        wrong.append(f"a traceback: {_last(said)}")
    elif code not in (0, 2):
        wrong.append(f"exit code {code}: {_last(said)}")
    elif code == 2 and not _last(said).startswith("aurora: "):
        wrong.append(f"no sentence: {_last(said)}")
    try:
        command.whole(work)
    except AuroraError:
        pass  # a reader sees that it is not whole
    except Exception as error:
        wrong.append(f"what is left cannot be read: {error!r}")
    return wrong


def _torn(command: Command, work: Path, start: object, right: object) -> list[str]:
    """Return the files that are neither as before nor as they should be in the end."""
    if not isinstance(start, dict) or not isinstance(right, dict):
        return []
    found = _state(command, work)
    assert isinstance(found, dict)
    torn = [name for name in found if found[name] not in (start.get(name), right.get(name))]
    return [f"half-written: {', '.join(sorted(torn)[:5])}"] if torn else []


def _state(command: Command, folder: Path) -> object:
    """Return what must be the same in the end: digests of all files that have their final name."""
    own = command.ours(folder)
    if own is not None:
        return own
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path.relative_to(folder): path for path in files}
    return {
        name.as_posix(): _digest(path)
        for name, path in names.items()
        if not any(part.startswith(".") or part.endswith(".partial") for part in name.parts)
        and name.parts[0] not in ("tmp", "home")
    }


def _digest(path: Path) -> str:
    """Return the digest of a file; of evidence and metrics, without what a clock or meter said."""
    if path.name in _DRAWN:
        return "there"
    if path.name not in ("evidence.json", "metrics.jsonl"):
        return sha256_file(path)
    try:
        rows = [_timeless(json.loads(line)) for line in path.read_bytes().splitlines()]
    except ValueError:
        return sha256_file(path)
    return sha256(json.dumps(rows).encode())


def _timeless(content: object) -> object:
    if isinstance(content, dict):
        return {key: _timeless(value) for key, value in content.items()
                if key not in _MEASURED and not key.endswith("seconds")}  # fmt: skip
    return [_timeless(item) for item in content] if isinstance(content, list) else content


def _differing(found: object, right: object) -> str:
    if not isinstance(found, dict) or not isinstance(right, dict):
        return f"{found} for {right}"
    names = [name for name in found.keys() | right.keys() if found.get(name) != right.get(name)]
    return ", ".join(sorted(names)[:5])


def _last(said: str) -> str:
    return (said.strip().splitlines() or ["nothing was said"])[-1][:300]


def main() -> None:
    """Try the named commands and print what came of it as JSON lines."""
    from tests.hardening.commands import COMMANDS

    if "inject.so" not in os.environ.get("LD_PRELOAD", ""):
        sys.exit(start(sys.argv[1:], own=False).returncode)
    most, kinds, *names = sys.argv[1:]
    wrong = False
    for name in names or COMMANDS:
        for kind in kinds.split(","):
            found = try_all(COMMANDS[name](), kind, int(most))
            wrong = wrong or bool(found.failures)
            sys.stdout.write(json.dumps(asdict(found)) + "\n")
            sys.stdout.flush()
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
