"""`python -m bench [NAME]`: run one question, or an hour of them, and keep the answers as JSON."""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from aurora_release import atomic
from aurora_release.environment import environment
from aurora_release.hardware import multiplies_bf16
from bench import (
    cache_keys,
    clean_memory,
    data,
    embedded,
    faults,
    filter,
    gateway,
    guards,
    load,
    memory,
    nodes,
    quantize,
    quantize_memory,
    ranks,
    replicas,
    safety_classifier,
    seek,
    serve_memory,
    train,
    verify,
)

QUESTIONS = {
    "cache-keys": cache_keys.measure,
    "clean-memory": clean_memory.measure,
    "data": data.measure,
    "data-memory": data.memory,
    "embedded": embedded.measure,
    "faults": faults.measure,
    "filter": filter.measure,
    "gateway": gateway.measure,
    "guards": guards.measure,
    "load": load.measure,
    "memory": memory.measure,
    "nodes": nodes.measure,
    "quantize": quantize.measure,
    "quantize-memory": quantize_memory.measure,
    "ranks": ranks.measure,
    "replicas": replicas.measure,
    "safety-classifier": safety_classifier.measure,
    "seek": seek.measure,
    "serve-memory": serve_memory.measure,
    "train": train.measure,
    "train-1b": train.measure_1b,
    "train-options": train.measure_options,
    "verify": verify.measure,
}

HOUR = ("ranks", "data", "seek", "train", "filter", "quantize", "quantize-memory", "verify")
"""What a fresh clone answers by itself on two cores; the others need peers, sets, root or a GPU."""


def main() -> None:
    """Answer one question here, or several, each in a process that no other has changed."""
    names = sys.argv[1:] or HOUR
    if len(names) == 1:
        _answer(names[0])
        return
    ended = {name: subprocess.call([sys.executable, "-m", "bench", name]) for name in names}
    failed = [name for name, code in ended.items() if code]
    if failed:
        sys.exit(f"Not answered: {', '.join(failed)}.")


def _answer(name: str) -> None:
    """Measure, print and write bench/results/<device>/<name>.json."""
    machine = environment()
    folder = Path(__file__).parent / "results" / _device(machine)
    folder.mkdir(parents=True, exist_ok=True)
    answer = {"question": name, "machine": machine, **QUESTIONS[name]()}
    text = json.dumps(answer, indent=1, sort_keys=True, ensure_ascii=False)
    atomic.write_text(folder / f"{name}.json", text + "\n")
    sys.stdout.write(text + "\n")


def _device(machine: dict[str, Any]) -> str:
    """Return the device's name; one name is many processors, which differ in what they multiply."""
    device = str(machine["accelerator"] or machine["processor"] or platform.machine())
    name = "-".join(device.replace("(R)", "").split()).lower()
    return f"{name}-bf16" if multiplies_bf16() and not machine["accelerator"] else name


if __name__ == "__main__":
    main()
