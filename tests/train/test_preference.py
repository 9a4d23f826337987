"""Preference tuning: which pairs are used, what is written, and what repeats."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aurora_release import recipe
from aurora_release.errors import AuroraError, Interrupted
from aurora_release.evidence import measured, read, sha256_file
from aurora_release.plan import plan

REVIEW = {"reviewer": "a", "time": "2026-11-01T10:00:00Z", "verdict": "accept"}
QUESTIONS = (
    "What is a sauna?", "How do I boil an egg?", "Is tea a plant?", "Name a river.",
    "What is rain?", "When is noon?", "Where is Hanoi?", "Who bakes bread?", "What is a fox?",
    "Why do dogs bark?", "How long is a metre?", "What is snow?",
)  # fmt: skip
SHORT = ("train.stages.0.tokens=128", "train.checkpoint_every=2")  # one step

Train = Callable[..., Path]


@pytest.fixture(scope="module")
def pairs(tiny_recipe: Path) -> Path:
    """Twelve reviewed pairs and one that nobody reviewed, beside the recipe."""
    rows = [
        {"id": f"p{n}", "prompt": question, "chosen": f"A fox jumps {n}.",
         "rejected": "dog dog dog", "reviews": [REVIEW] if n < 12 else []}
        for n, question in enumerate((*QUESTIONS, "Nobody read this?"))
    ]  # fmt: skip
    path = tiny_recipe.parent / "preferences.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _tune(pairs: Path, **keys: object) -> str:
    settings = {"path": pairs.name, "learning_rate": 0.001, "global_batch": 2, "micro_batch": 2,
                "epochs": 2, "heldout": 0.2, **keys}  # fmt: skip
    return f"tune={json.dumps(settings)}"


def _evidence(folder: Path) -> dict[str, Any]:
    return dict(measured(read(folder / "evidence.json")))


@pytest.fixture(scope="module")
def tuned(
    train: Train, tiny_recipe: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return train(tiny_recipe, tmp_path_factory.mktemp("dpo"), *SHORT, _tune(pairs))


def test_chosen_answers_are_preferred_on_pairs_that_were_not_trained_on(tuned: Path) -> None:
    found = _evidence(tuned / "dpo")
    assert found["pairs"]["read"] == 13
    assert found["pairs"]["unreviewed"] == 1
    assert found["pairs"]["trained"] + found["pairs"]["heldout"] == 12
    assert found["pairs"]["heldout"] > 0
    assert found["first_loss"] == pytest.approx(0.6931, abs=1e-3)  # ln 2: nothing has moved
    assert found["last_loss"] < 0.6
    assert found["heldout"]["reward_accuracy"] == 1
    assert found["heldout"]["reward_margin"] > 0.1


def test_writes_a_model_and_its_metrics_and_nothing_else(tuned: Path) -> None:
    assert {path.name for path in (tuned / "dpo").iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja", "metrics.jsonl", "evidence.json",
    }  # fmt: skip
    lines = (tuned / "dpo" / "metrics.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == list(range(1, _evidence(tuned / "dpo")["steps"] + 1))
    assert {"loss", "reward_accuracy", "reward_margin", "gradient_norm"} <= rows[0].keys()


def test_loss_is_on_answers_alone_in_the_chat_template(tiny_llama: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from aurora_release.data.preferences import Preference
    from aurora_release.run import Job
    from aurora_release.train import adapters, preference

    found, beside = recipe.load("demo", (_tune(tmp_path / "pairs.jsonl"),))
    assert found.tune
    pair = Preference(id="a", prompt="Tea?", chosen="Yes.", rejected="No fox.")
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    with adapters.quiet():
        trainer = preference._trainer(
            Job(found, beside, tmp_path, {}), found.tune, tiny_llama, tokenizer, [pair, pair], []
        )
    (batch,) = trainer.get_train_dataloader()
    asked = "<|im_start|>user\nTea?<|im_end|>\n<|im_start|>assistant\n"
    for row, answer in ((0, "Yes."), (2, "No fox.")):
        scored = batch["completion_mask"][row].bool()
        seen = batch["attention_mask"][row].bool()
        assert tokenizer.decode(batch["input_ids"][row][seen & ~scored]) == asked
        assert tokenizer.decode(batch["input_ids"][row][scored]) == f"{answer}<|im_end|>\n"


def test_two_runs_give_the_same_bytes(
    tuned: Path, train: Train, tiny_recipe: Path, pairs: Path, tmp_path: Path
) -> None:
    again = train(tiny_recipe, tmp_path, *SHORT, _tune(pairs))
    for name in ("model.safetensors", "metrics.jsonl"):
        assert sha256_file(again / "dpo" / name) == sha256_file(tuned / "dpo" / name)


def test_stopped_run_goes_on_and_ends_with_the_same_bytes(
    tuned: Path, train: Train, tiny_recipe: Path, pairs: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    import os
    import signal

    from aurora_release.train import preference

    told = preference._Journal.on_log

    def stop_at_three(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        told(self, args, state, control, **more)
        if state.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(preference._Journal, "on_log", stop_at_three)
        with pytest.raises(Interrupted, match="dpo stopped after step"):
            train(tiny_recipe, tmp_path, *SHORT, _tune(pairs))
    train(tiny_recipe, tmp_path, *SHORT, _tune(pairs))
    for name in ("model.safetensors", "metrics.jsonl"):
        assert sha256_file(tmp_path / "tiny" / "dpo" / name) == sha256_file(tuned / "dpo" / name)


def test_adapters_over_4_bits_are_merged(
    train: Train, tiny_recipe: Path, pairs: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    run = train(tiny_recipe, tmp_path, *SHORT, _tune(pairs, lora={"rank": 4, "base": "nf4"}))
    before, after = (load_file(run / name / "model.safetensors") for name in ("cap", "dpo"))
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {name for name in after if "_proj" in name}
    assert (run / "dpo" / "adapter" / "adapter_model.safetensors").is_file()
    assert _evidence(run / "dpo")["lora"]["base"] == "nf4"


def test_no_pair_left_says_the_counts(
    train: Train, tiny_recipe: Path, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(AuroraError, match="of 13, 13 have fewer than 2 reviews"):
        train(tiny_recipe, tmp_path, *SHORT, _tune(pairs, min_reviews=2))
    with pytest.raises(AuroraError, match="of 12 that are reviewed, 0 have at most 8 tokens"):
        train(tiny_recipe, tmp_path, *SHORT, _tune(pairs, max_length=8))


def test_tuned_model_is_what_is_evaluated_quantized_and_released(
    tiny_recipe: Path, pairs: Path
) -> None:
    found, beside = recipe.load(
        str(tiny_recipe), (_tune(pairs, name="polite"), "quantize=[{method: nf4}]")
    )
    stages = {stage.name: stage for stage in plan(found, beside)}
    assert found.final == "polite"
    assert stages["polite"].after == ("cap",)
    assert "polite" in stages["evaluate-polite"].after
    assert stages["nf4"].after[0] == "polite"
    assert "evaluate-cap" not in stages
    names = list(stages)
    assert names.index("cap") < names.index("polite") < names.index("evaluate-polite")
