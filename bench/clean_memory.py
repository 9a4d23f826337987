"""Does the memory of cleaning stay flat from 10 MB to 1 GB, and how fast is each step?

`BENCH_MEGABYTES="10 100"` measures fewer sizes. The input is made from the shipped corpus: words
of a language drawn at random into pages, one page in twenty there twice. One worker, so that the
peak is that of one process; each size in a process of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZES = "10 100 1000"
LANGUAGES = ("en", "fi", "hi", "vi")
WORDS_A_PAGE = 300

CHILD = """
import json, resource, sys, time
from pathlib import Path
from aurora_release import log, recipe
from aurora_release.data.clean.stage import clean
from aurora_release.run import Job

folder, rules = Path(sys.argv[1]), json.loads(sys.argv[2])
demo, _ = recipe.load("demo")
sources = [
    {"name": path.stem, "path": str(path), "language": path.stem, "license": "MPL-2.0"}
    for path in sorted(folder.glob("*.jsonl"))
]
data = demo.data.model_dump(mode="json")
data |= {"sources": sources, "clean": rules, "executor": {"workers": 1}}
whole = demo.model_copy(update={"data": recipe.Data.model_validate_json(json.dumps(data))})
(folder / "clean").mkdir()
log.configure()
began, spent = time.monotonic(), time.process_time()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = clean(Job(whole, folder, folder / "clean", {}))["sources"]
removed = {}
for counts in report.values():
    for reason, count in counts["removed"].items():
        removed[reason] = removed.get(reason, 0) + count
print(json.dumps({
    "read": sum(counts["read"] for counts in report.values()),
    "kept": sum(counts["kept"] for counts in report.values()),
    "heldout": sum(counts["heldout"] for counts in report.values()),
    "removed": removed,
    "seconds": time.monotonic() - began,
    "cpu_seconds": time.process_time() - spent,
    "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "megabytes_after_imports": before / 1024,
}))
"""


def measure() -> dict[str, Any]:
    """Return peak memory and speed of the stage for each size, and the speed of each step."""
    sizes = [int(size) for size in os.environ.get("BENCH_MEGABYTES", SIZES).split()]
    return {
        "load_before": os.getloadavg()[0],
        "default_rules": [_cleaned(size, {}) for size in sizes],
        "near_duplicates": [_cleaned(size, {"near_duplicates": 0.8}) for size in sizes[:1]],
        "steps_megabytes_per_cpu_second": _steps(),
        "load_after": os.getloadavg()[0],
    }


def _cleaned(megabytes: int, rules: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = sum(_write(folder, language, megabytes / 4, at) for at, language in _numbered())
        child = [sys.executable, "-c", CHILD, folder, json.dumps(rules)]
        out = subprocess.run(child, check=True, stdout=subprocess.PIPE).stdout
    answer: dict[str, Any] = json.loads(out)
    answer["input_megabytes"] = size / 1e6
    answer["megabytes_per_cpu_second"] = size / 1e6 / answer["cpu_seconds"]
    return answer


def _numbered() -> list[tuple[int, str]]:
    return list(enumerate(LANGUAGES))


def _texts(language: str) -> list[str]:
    from aurora_release.shipped import shipped

    lines = shipped(f"train/corpus/{language}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def _write(folder: Path, language: str, megabytes: float, seed: int) -> int:
    """Write pages of one language and return their bytes; the same every time."""
    words = np.array(" ".join(_texts(language)).split(), dtype=object)
    noise, written, number, last = np.random.default_rng(seed), 0, 0, ""
    with (folder / f"{language}.jsonl").open("wb") as file:
        while written < megabytes * 1e6:
            if number % 20 != 19:
                last = " ".join(words[noise.integers(len(words), size=WORDS_A_PAGE)])
            page = {"id": f"{language}-{number}", "text": last}
            written += file.write(json.dumps(page, ensure_ascii=False).encode() + b"\n")
            number += 1
    return written


def _steps() -> dict[str, float]:
    """Return the speed of each step over one document after the other, in one process."""
    from aurora_release.data.clean import ngrams, repeats
    from aurora_release.data.clean.language import other_language
    from aurora_release.data.clean.mask import mask
    from aurora_release.data.clean.normalise import normalise
    from aurora_release.data.clean.quality import fault

    pages = [(language, text) for language in (*LANGUAGES, "ja") for text in _texts(language)]
    with tempfile.TemporaryDirectory() as folder:
        signatures = repeats.Signatures(_Plan(Path(folder)), 0.8)  # type: ignore[arg-type]
        steps: dict[str, Callable[[str, str], object]] = {
            "normalise": lambda language, text: normalise(text),
            "language": lambda language, text: other_language(text, language, 0.9),
            "quality": lambda language, text: fault(text, language),
            "mask": lambda language, text: mask(text),
            "n-grams": lambda language, text: ngrams.hashes(ngrams.tokens(text), 13),
            "minhash": lambda language, text: signatures.get_signature(
                signatures.get_shingles(text)
            ),
        }
        return {name: _speed(step, pages) for name, step in steps.items()}


class _Plan:
    def __init__(self, folder: Path) -> None:
        self.folder = folder


def _speed(step: Callable[[str, str], object], pages: list[tuple[str, str]]) -> float:
    step(*pages[0])
    began = time.process_time()
    for language, text in pages:
        step(language, text)
    return sum(len(text.encode()) for _, text in pages) / 1e6 / (time.process_time() - began)
