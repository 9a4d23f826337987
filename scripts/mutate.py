"""Puts small faults into a copy of the code, one at a time: a fault that no test notices is a gap.

    pip install -c constraints.txt mutmut
    python -m scripts.mutate                    # or some of: evidence order filter

Each room is copied to `.mutation/<room>` and run there by mutmut with its own tests, which meet
fewer random examples than in the suite, always the same ones. The table counts by module; below it
stand the faults that survived. To see one: `cd .mutation/<room>; python -m mutmut show NAME`.
"""

import re
import resource
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOMS = {
    "evidence": (
        ("evidence.py", "gates.py"),
        ("test_evidence.py", "test_gates.py"),
    ),
    "order": (
        ("data/mixture.py", "data/which.py", "train/batches.py"),
        ("data/test_mixture.py", "data/test_which.py", "train/test_batches.py"),
    ),
    "filter": (
        ("safety/escapes.py", "safety/policy.py", "safety/stream.py", "safety/text.py"),
        ("safety/test_escapes.py", "safety/test_policy.py", "safety/test_stream.py",
         "safety/test_stream_property.py", "safety/test_text.py"),
    ),
}  # fmt: skip
"""What is mutated, below aurora_release/, and the tests that must notice, below tests/."""

EXAMPLES = 60
"""Random examples of a property, where the suite tries more."""

_MEMORY = 8 * 2**30
"""Bytes of address space of a process."""

_PROFILE = f"""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutation", derandomize=True, database=None, deadline=None, max_examples={EXAMPLES},
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
)
settings.load_profile("mutation")
"""


def copy(room: str, folder: Path) -> None:
    """Write the files that git tracks or would, ready for mutmut, into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, folder / name)
    sources, tests = ROOMS[room]
    settings = {
        "source_paths": ["aurora_release"],
        "only_mutate": [f"aurora_release/{source}" for source in sources],
        "also_copy": ["train", "quantize", "serve", "model_card"],
        "pytest_add_cli_args": ["-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": [f"tests/{test}" for test in tests],
        "timeout_multiplier": 4.0,
        "timeout_constant": 10.0,
    }
    lines = [f"{key} = {value!r}" for key, value in settings.items()]
    _append(folder / "pyproject.toml", "\n".join(["", "[tool.mutmut]", *lines, ""]))
    _append(folder / "tests/conftest.py", _PROFILE)
    for test in tests:
        _fewer_examples(folder / "tests" / test)


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def _fewer_examples(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"max_examples=\d+", f"max_examples={EXAMPLES}", text)
    # what the suite asks of 1,200 examples
    text = text.replace(">= 1200", f">= {EXAMPLES}").replace(">= 400", f">= {EXAMPLES // 4}")
    path.write_text(text, encoding="utf-8")


def mutate(folder: Path) -> dict[str, str]:
    """Run mutmut in a folder and return what became of each mutant."""
    mutmut = [sys.executable, "-m", "mutmut"]
    subprocess.run([*mutmut, "run"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    told = subprocess.run(
        [*mutmut, "results", "--all", "true"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return dict(line.strip().rsplit(": ", 1) for line in told.splitlines() if ": " in line)


def table(found: dict[str, str]) -> str:
    """Return how many mutants of each module came to which end."""
    modules: dict[str, Counter[str]] = {}
    for name, end in found.items():
        module = name.rpartition(".")[0].removeprefix("aurora_release.")
        modules.setdefault(module, Counter())[end] += 1
    ends = sorted({end for counts in modules.values() for end in counts})
    rows = [["module", "mutants", *ends]]
    for module, counts in modules.items():
        rows.append([module, str(counts.total()), *(str(counts[end]) for end in ends)])
    return "\n".join(
        f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    )


def main() -> None:
    """Mutate the named rooms, or all."""
    # a fault that never ends must not take the memory of others
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    found: dict[str, str] = {}
    for room in sys.argv[1:] or ROOMS:
        folder = Path(".mutation", room)
        copy(room, folder)
        found |= mutate(folder)
    lived = [f"{name}: {end}" for name, end in found.items() if end not in ("killed", "timeout")]
    sys.stdout.write("\n".join([table(found), "", *lived, ""]))


if __name__ == "__main__":
    main()
