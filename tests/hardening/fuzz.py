"""Gives every parser wrong files: it must read something sound, or refuse it in a sentence."""

import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from aurora_release.errors import AuroraError
from tests.hardening.mutate import extremes, mutated
from tests.hardening.parsers import Parser, parsers

CASES = int(os.environ.get("AURORA_FUZZ", "60"))
"""Files that each parser is given; other ones each time where the number is set."""
_BYTES, _SECONDS, _LETTERS = 2**30, 20, 4000
"""What an extreme file may take beyond what is taken already, and the longest message."""


@dataclass
class Fuzzed:
    """What became of the files that one parser was given."""

    parser: str
    asked: int
    """Changed files; the extreme ones come on top."""
    cases: int = 0
    read: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    """The shortest file, as Python writes it, by what went wrong with it and where."""

    def note(self, what: str, content: bytes) -> None:
        """Keep a failure, if its file is shorter than the one known."""
        text = repr(content[:300])
        self.failures[what] = min(self.failures.get(what, text), text, key=len)


def fuzz(parser: Parser, cases: int = CASES) -> Fuzzed:
    """Return what a parser made of so many changed files and of every extreme one."""
    found = Fuzzed(parser.name, cases)
    with tempfile.TemporaryDirectory() as name:
        valid, folder = Path(name) / "valid", Path(name) / "given"
        valid.mkdir()
        parser.valid(valid)
        content = (valid / parser.file).read_bytes()
        assert _outcome(parser, _given(valid, folder, parser.file, content)) == "read", parser.name

        @settings(
            max_examples=cases, deadline=None, database=None, phases=[Phase.generate],
            derandomize="AURORA_FUZZ" not in os.environ, suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(mutated(content, parser.form))
        def one(content: bytes) -> None:
            _note(found, _outcome(parser, _given(valid, folder, parser.file, content)), content)

        one()
        for what, content in extremes(parser.form).items():
            _given(valid, folder, parser.file, content)
            _note(found, _bounded(lambda: _outcome(parser, folder)), what.encode())
        for what, place in _PLACES.items() if parser.form != "override" else ():
            path = _given(valid, folder, parser.file, b"") / parser.file
            path.unlink()
            place(path)
            _note(found, _bounded(lambda: _outcome(parser, folder)), what.encode())
    return found


_PLACES: dict[str, Callable[[Path], None]] = {
    "a folder in its place": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to nothing": lambda path: path.symlink_to(path.parent / "nothing"),
    "a link to zeros without end": lambda path: path.symlink_to("/dev/zero"),
}


def _given(valid: Path, folder: Path, file: str, content: bytes) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(valid, folder)
    (folder / file).write_bytes(content)
    return folder


def _note(found: Fuzzed, outcome: str, content: bytes) -> None:
    found.cases += 1
    found.read += outcome == "read"
    if outcome not in ("read", "refused"):
        found.note(outcome, content)


def _outcome(parser: Parser, folder: Path) -> str:
    """Return `read`, `refused`, or what went wrong and where."""
    before = sorted(folder.rglob("*"))
    try:
        parser.read(folder)
        outcome = "read"
    except AuroraError as error:
        outcome = _sentence(parser, folder, str(error))
    except Exception as error:
        last = [frame for frame in traceback.extract_tb(error.__traceback__)
                if "aurora_release" in frame.filename][-1]  # fmt: skip
        return f"{type(error).__name__} in {Path(last.filename).name}, {last.name}"
    return outcome if sorted(folder.rglob("*")) == before else "files were written"


def _sentence(parser: Parser, folder: Path, text: str) -> str:
    if len(text) > _LETTERS:
        return "a message without end"
    placed = parser.file in text or str(folder) in text or parser.form == "override"
    return "refused" if placed else "a message without a place"


def _bounded(outcome: Callable[[], str]) -> str:
    """Return an outcome of a child that has a gigabyte and some seconds of a processor."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with open("/proc/self/statm", encoding="ascii") as statm:
            most = int(statm.read().split()[0]) * resource.getpagesize() + _BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, 2 * _SECONDS))
        try:
            os.write(writing, outcome().encode()[:500])
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (
        said
        if code == 0
        else f"more than {_SECONDS} seconds"
        if code == -signal.SIGXCPU
        else f"ended {code}"
    )


def main() -> None:
    """Fuzz the parsers whose names hold one of the words given, and print JSON lines."""
    for parser in parsers():
        if not sys.argv[1:] or any(word in parser.name for word in sys.argv[1:]):
            sys.stdout.write(json.dumps(asdict(fuzz(parser)), ensure_ascii=True) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
