"""`python -m bench [NAME]`: run one question, or an hour of them, and keep the answers as JSON."""

import json
import platform
import sys
from pathlib import Path

from aurora_release import atomic
from aurora_release.environment import environment
from bench import (
    clean_memory,
    data,
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
    "clean-memory": clean_memory.measure,
    "data": data.measure,
    "data-memory": data.memory,
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
    """Measure, print and write bench/results/<device>/<name>.json."""
    machine = environment()
    device = str(machine["accelerator"] or machine["processor"] or platform.machine())
    folder = Path(__file__).parent / "results" / "-".join(device.replace("(R)", "").split()).lower()
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or HOUR:
        answer = {"question": name, "machine": machine, **QUESTIONS[name]()}
        text = json.dumps(answer, indent=1, sort_keys=True, ensure_ascii=False)
        atomic.write_text(folder / f"{name}.json", text + "\n")
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
