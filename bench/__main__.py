"""`python -m bench [NAME]`: run one question, or all, and keep the answers as JSON."""

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
    quantize,
    quantize_memory,
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
    "quantize": quantize.measure,
    "quantize-memory": quantize_memory.measure,
    "replicas": replicas.measure,
    "safety-classifier": safety_classifier.measure,
    "seek": seek.measure,
    "serve-memory": serve_memory.measure,
    "train": train.measure,
    "train-1b": train.measure_1b,
    "train-options": train.measure_options,
    "verify": verify.measure,
}


def main() -> None:
    """Measure, print and write bench/results/<device>/<name>.json."""
    machine = environment()
    device = str(machine["accelerator"] or machine["processor"] or platform.machine())
    folder = Path(__file__).parent / "results" / "-".join(device.replace("(R)", "").split()).lower()
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[1:] or QUESTIONS:
        answer = {"question": name, "machine": machine, **QUESTIONS[name]()}
        text = json.dumps(answer, indent=1, sort_keys=True, ensure_ascii=False)
        atomic.write_text(folder / f"{name}.json", text + "\n")
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
