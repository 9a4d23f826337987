"""A small run, done by the real runner: every stage leaves real evidence of tiny files."""

import json
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aurora_release.card import classifier, snippet
from aurora_release.card.stage import release, seal
from aurora_release.evaluate.redteam.answers import Answer, Asked
from aurora_release.evaluate.redteam.evaluation import report
from aurora_release.evaluate.redteam.judges import Judged, Outcome
from aurora_release.evaluate.redteam.requests import Kind, Request, RequestSet
from aurora_release.evaluate.redteam.wrappers import Attacks
from aurora_release.evidence import sha256, sha256_file
from aurora_release.recipe import Recipe
from aurora_release.run import Job, Stage, run

SOURCES = {"help-en": "en", "help-fi": "fi", "python": "code"}
KINDS: tuple[Kind, ...] = ("harmful", "benign")
MODELS = {"base": 1.0, "cat": 0.85, "nf4": 0.9, "gguf": 0.86}
"""Bits per byte of each model, as a share of the base model's."""

RECIPE = {
    "name": "small",
    "title": "Small",
    "seed": 7,
    "model": {"base": "pypi:small==1", "license": "Apache-2.0"},
    "data": {
        "sources": [
            *(
                {"name": name, "path": f"{name}.jsonl", "language": language, "license": "MPL-2.0"}
                for name, language in SOURCES.items()
            ),
            {"name": "safety-fi", "path": "s", "language": "fi", "license": "Apache-2.0",
             "kind": "pairs"},
        ]
    },
    "train": {
        "stages": [
            {"name": "cap", "tokens": 40960, "learning_rate": 4e-4,
             "mixture": {"help-en": 0.4, "help-fi": 0.6}},
            {"name": "cat", "tokens": 20480, "learning_rate": 3e-4,
             "mixture": {"help-fi": 0.7, "safety-fi": 0.3}},
        ]
    },
    "quantize": [{"method": "nf4"}, {"method": "gguf"}],
    "gates": {"max_rise": {"*": 0.05}, "max_variant_rise": 0.5},
}  # fmt: skip

MODEL = {
    "config.json": "{}",
    "model.safetensors": "stands for weights",
    "tokenizer.json": "stands for a tokenizer",
    "chat_template.jinja": "stands for a template",
    "metrics.jsonl": "no part of a model",
}


def stages(recipe: Recipe, model: Callable[[Job], None]) -> list[Stage]:
    """Return the stages of a small run whose trained model is written by `model`."""
    after = ["base", "clean", "data", "evaluate-base", "cap", "cat", "evaluate-cat", "nf4", "gguf",
             "evaluate-nf4", "evaluate-gguf", "snippet", "filter"]  # fmt: skip
    return [
        Stage("base", (), "base", _base),
        Stage("clean", (), "clean", _clean),
        Stage("data", ("base", "clean"), "data", _data),
        Stage("cap", ("base", "data"), "cap", partial(_train, "cap", 40, _write_model)),
        Stage("cat", ("cap", "data"), "cat", partial(_train, "cat", 20, model)),
        Stage("nf4", ("cat", "data"), {"method": "nf4", "name": "nf4"}, _nf4),
        Stage("gguf", ("cat", "data"), {"method": "gguf", "type": "Q8_0"}, _gguf),
        *(
            Stage(f"evaluate-{name}", tuple({name, "clean"}), "evaluate", partial(_evaluate, name))
            for name in MODELS
        ),
        Stage("snippet", ("cat",), "snippet", _snippet),
        Stage("filter", (), recipe.policy, classifier.report),
        Stage("release", tuple(after), recipe.model_dump(mode="json"), release, seal=seal),
    ]


def _snippet(job: Job) -> dict[str, Any]:
    (job.folder / "printed.txt").write_text("stands for what was printed", encoding="utf-8")
    return {"sha256": sha256(snippet.code().encode()), "printed": "A sauna is ``hot``.\n"}


def _write_model(job: Job) -> None:
    for name, content in MODEL.items():
        (job.folder / name).write_text(f"{content} of {job.folder.name}", encoding="utf-8")


def _base(job: Job) -> dict[str, Any]:
    _write_model(job)
    return {"source": "pypi:small==1", "license": "Apache-2.0", "parameters": 134_515_008,
            "architecture": "LlamaForCausalLM"}  # fmt: skip


def _clean(job: Job) -> dict[str, Any]:
    (job.folder / "report.json").write_text("stands for a report", encoding="utf-8")
    row = {"read": 220, "kept": 190, "removed": {"too short": 9}, "masked": {"email": 3}}
    return {"sources": dict.fromkeys((*SOURCES, "safety-fi"), row)}


def _data(job: Job) -> dict[str, Any]:
    (job.folder / "tokens.bin").write_text("stands for tokens", encoding="utf-8")
    counts = {"documents": 190, "tokens": 123_456, "heldout": 21}
    ledger = {"pairs": 48, "reviewed": 0, "unreviewed": 48, "writer": {"model": 48},
              "category": {"cyber": 24, "privacy": 24}}  # fmt: skip
    return {
        "sources": {**dict.fromkeys(SOURCES, counts), "safety-fi": {**counts, "ledger": ledger}}
    }


def _train(name: str, steps: int, model: Callable[[Job], None], job: Job) -> dict[str, Any]:
    model(job)
    lines = [json.dumps({"step": step, "gradient_norm": 4 - step / 10}) for step in range(1, steps)]
    (job.folder / "metrics.jsonl").write_text("\n".join(lines), encoding="utf-8")
    noise = random.Random(name)
    mixture = next(stage.mixture for stage in job.recipe.train.stages if stage.name == name)
    return {
        "steps": steps, "tokens": steps * 1024, "first_loss": 3.25, "last_loss": 2.125,
        "tokens_per_second": 1234.5, "seconds": 90.0, "energy": {"processor": 7.2e6},
        "precision": "bf16", "ranks": 1, "threads": 2,
        "order": "ab" * 32, "samples": dict.fromkeys(mixture, steps),
        "epochs": dict.fromkeys(mixture, steps / 10),
        "validation": {"every": steps // 2, "curves": {
            source: [[step, 1.5, -step / 400, -step / 400 - 0.02, -step / 400 + 0.02]
                     for step in (0, steps // 2, steps)]
            for source in SOURCES
        }},
        "forgetting": {"floors": {"*": 0.05}, "on_breach": "stop", "breaches": []},
        "loss": [
            [step, 3 - step / steps / 2 + noise.gauss(0, 0.1)] for step in range(1, steps + 1)
        ],
    }  # fmt: skip


def _evaluate(of: str, job: Job) -> dict[str, Any]:
    (job.folder / "replies.jsonl").write_text("stands for replies", encoding="utf-8")
    role = {"base": "base", "cat": "final"}.get(of, "variant")
    return {
        "model": {"stage": of, "role": role, "sha256": "cd" * 32},
        "bits_per_byte": {name: _bits(name, of) for name in SOURCES},
        "safety": _safety(1 if of == "base" else 4),
        "filter": {"fi": {"harmful": 6, "blocked": 5, "benign": 6, "over_blocked": 0}},
    }


def _safety(refused: int) -> dict[str, Any]:
    """Return the report of six harmful and six harmless requests in each of two languages."""
    asked = [
        Asked(Request(f"{number}", f"{number}", language, "cyber", kind, "?"), "plain", "?")
        for language in ("en", "fi")
        for kind in KINDS
        for number in range(6)
    ]
    outcomes: list[Outcome] = ["refused"] * refused + ["complied"] * (6 - refused)
    judged = [
        Judged(item, Answer("!"), outcomes[place % 6], None) for place, item in enumerate(asked)
    ]
    found = RequestSet("safety-fi", 30, tuple(item.request for item in asked), {"too long": 6})
    return report(judged, [found], Attacks(asked, {}))


def _bits(source: str, of: str) -> dict[str, Any]:
    noise = random.Random(source)
    sizes = [noise.randint(400, 2000) for _ in range(12)]
    hard = random.Random(f"{source} {of}")
    bits = [size * 1.5 * MODELS[of] * hard.uniform(0.95, 1.05) for size in sizes]
    return {
        "language": SOURCES[source],
        "bits_per_byte": sum(bits) / sum(sizes),
        "bytes": sum(sizes),
        "per_document": {"bits": bits, "bytes": sizes},
    }


def _nf4(job: Job) -> dict[str, Any]:
    _write_model(job)
    return {
        "method": "nf4", "bytes": 108_000_000, "seconds": 3.5, "peak_memory_bytes": 900_000_000,
        "certificate": {"greedy_agreement": 0.91, "texts": 3, "chat_template": "ef" * 32,
                        "weights": {
                            "model.safetensors": sha256_file(job.folder / "model.safetensors")}},
    }  # fmt: skip


def _gguf(job: Job) -> dict[str, Any]:
    (job.folder / "model.gguf").write_text("stands for weights", encoding="utf-8")
    (job.folder / "tokenizer.json").write_text("stands for a tokenizer", encoding="utf-8")
    return {"method": "gguf", "bytes": 143_000_000}


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """A recipe of two stages and two variants."""
    return Recipe.model_validate_json(json.dumps(RECIPE))


@pytest.fixture(scope="session")
def small_run(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    run(recipe, folder, stages(recipe, _write_model), folder)
    return folder


@pytest.fixture
def released(small_run: Path, tmp_path: Path) -> Path:
    """A release folder that stands alone and may be changed."""
    return Path(shutil.copytree(small_run / "release", tmp_path / "release"))


@pytest.fixture
def job(recipe: Recipe, small_run: Path, tmp_path: Path) -> Job:
    """The release stage of the finished run, about to begin in an empty folder."""
    names = [path.name for path in small_run.iterdir() if path.is_dir() and path.name != "release"]
    (tmp_path / "again").mkdir()
    before = {name: small_run / name for name in names}
    return Job(recipe, small_run, tmp_path / "again", before)
