"""LoRA and QLoRA: what is trained, what is written, and that a resume changes nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aurora_release import recipe
from aurora_release.errors import AuroraError, Interrupted
from aurora_release.evidence import measured, read, sha256_file

SHORT = ("train.stages.0.tokens=768", "train.stages.0.learning_rate=0.01",
         "train.checkpoint_every=2")  # six steps  # fmt: skip
LORA = (*SHORT, "train.lora={rank: 4, alpha: 8, dropout: 0.1}")
QLORA = (*SHORT, "train.lora={rank: 4, base: nf4}")

Train = Callable[..., Path]


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "model.safetensors"))


def _evidence(folder: Path) -> dict[str, Any]:
    return dict(measured(read(folder / "evidence.json")))


@pytest.fixture(scope="module")
def adapted(train: Train, tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny_recipe, tmp_path_factory.mktemp("lora"), *LORA)


def test_adapters_are_trained_merged_and_kept(adapted: Path) -> None:
    before, after = _weights(adapted / "base"), _weights(adapted / "cap")
    assert after.keys() == before.keys()
    moved = {name for name in after if not torch.equal(after[name], before[name].bfloat16())}
    # every linear layer but the head, which is tied to the embedding
    assert moved == {name for name in after if "_proj" in name}
    assert {path.name for path in (adapted / "cap" / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    found = _evidence(adapted / "cap")["lora"]
    assert found["trained_parameters"] == sum(
        4 * sum(before[name].shape) for name in before if "_proj" in name
    )
    assert found["parameters"] == sum(weight.numel() for weight in before.values())


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_peft_reads_the_adapter_and_gives_the_exported_logits(adapted: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    tokens = torch.arange(3, 40)[None]
    with torch.no_grad():
        folder = adapted / "cap" / "adapter"
        where = json.loads((folder / "adapter_config.json").read_bytes())
        assert (folder / where["base_model_name_or_path"] / "config.json").is_file()
        base = AutoModelForCausalLM.from_pretrained(adapted / "base", dtype=torch.float32)
        apart = PeftModel.from_pretrained(base, folder)
        merged = AutoModelForCausalLM.from_pretrained(adapted / "cap", dtype=torch.float32)
        difference = apart(tokens).logits - merged(tokens).logits
        assert difference.norm() < 0.02 * merged(tokens).logits.norm()  # rounded to bf16


@pytest.mark.parametrize("how", [LORA, QLORA], ids=["lora", "qlora"])
def test_resume_ends_with_the_same_bytes(
    how: tuple[str, ...], train: Train, tiny_recipe: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from aurora_release.train.loop import Loop

    step = Loop._step

    def stopped(self: Loop, number: int) -> dict[str, Any]:
        if number == 5:
            raise Interrupted("stopped by the test")
        return step(self, number)

    whole = train(tiny_recipe, tmp_path / "whole", *how)
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_step", stopped)
        with pytest.raises(Interrupted):
            train(tiny_recipe, tmp_path / "parts", *how)
    parts = train(tiny_recipe, tmp_path / "parts", *how)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert sha256_file(parts / "cap" / name) == sha256_file(whole / "cap" / name)


@pytest.mark.parametrize("zero", ["zero0", "zero2"])
def test_frozen_weights_in_4_bits_train_and_leave_the_others_whole(
    zero: str, train: Train, tiny_recipe: Path, tmp_path: Path
) -> None:
    run = train(
        tiny_recipe, tmp_path, *QLORA, f"train.zero=shipped:train/zero/{zero}.json",
        "train.watch={validate_every: 3}",
    )  # fmt: skip
    before, after = _weights(run / "base"), _weights(run / "cap")
    moved = {name for name in after if not torch.equal(after[name], before[name].bfloat16())}
    assert moved == {name for name in after if "_proj" in name}
    found = _evidence(run / "cap")
    assert found["lora"]["base"] == "nf4"
    assert found["last_loss"] < found["first_loss"]


@pytest.mark.filterwarnings("ignore::FutureWarning:torch.distributed")
def test_starcoder_and_zero_3(
    train: Train, tiny_recipe: Path, tiny_bigcode: Path, tmp_path: Path
) -> None:
    run = train(
        tiny_recipe, tmp_path, *LORA, f"model.base={tiny_bigcode}",
        "train.zero=shipped:train/zero/zero3.json",
    )  # fmt: skip
    before, after = _weights(run / "base"), _weights(run / "cap")
    moved = {name for name in after if not torch.equal(after[name], before[name].bfloat16())}
    assert moved == {name for name in after if ".h." in name and "c_" in name and "weight" in name}


def test_zero_3_refuses_4_bits(train: Train, tiny_recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="ZeRO 3.* Set train.zero to ZeRO 0, 1 or 2"):
        train(tiny_recipe, tmp_path, *QLORA, "train.zero=shipped:train/zero/zero3.json")


def test_targets_that_are_no_layers_are_named(
    train: Train, tiny_recipe: Path, tmp_path: Path
) -> None:
    with pytest.raises(AuroraError, match=r"lora.targets, w1, .*down_proj.*q_proj"):
        train(tiny_recipe, tmp_path, *SHORT, "train.lora={targets: [w1]}")


def test_average_is_refused() -> None:
    with pytest.raises(AuroraError, match="average and lora"):
        recipe.load("demo", ("train.average=3", "train.lora={}"))
