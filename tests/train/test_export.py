"""An exported folder holds what was trained, to the bit, and says so when it does not."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from aurora_release.errors import AuroraError
from aurora_release.recipe import Train, TrainStage
from aurora_release.shipped import shipped
from aurora_release.train import engine as engines
from aurora_release.train import model as models
from aurora_release.train.export import export

# DeepSpeed calls collectives by the names they had
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

STAGE = TrainStage(name="cap", tokens=1, mixture={"a": 1.0}, learning_rate=1e-2)


@pytest.fixture(autouse=True)
def _joined(group: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in group.items():
        if os.environ.get(key) != value:
            monkeypatch.setenv(key, value)


def _trained(source: Path, precision: Any, zero: str) -> Any:
    """Return an engine after one step, so that its weights are those of no file."""
    train = Train(stages=(STAGE,), micro_batch=1, global_batch=1, precision=precision)
    model = models.load(source, train)
    engine = engines.start(model, train, shipped(f"train/zero/{zero}.json"))
    tokens = torch.arange(24).view(1, -1)
    for group in engine.optimizer.param_groups:
        group["lr"] = 1e-2
    engine.backward(engine(input_ids=tokens, labels=tokens, use_cache=False).loss)
    engine.step()
    return engine


@pytest.fixture(
    params=[("tiny_llama", "bf16", "zero2"), ("tiny_llama", "fp32", "zero3"),
            ("tiny_bigcode", "fp32", "zero0")],
    ids="-".join,
)  # fmt: skip
def exported(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Any, Path, Path, dict[str, Any]]]:
    model, precision, zero = request.param
    source = request.getfixturevalue(model)
    engine = _trained(source, precision, zero)
    certificate = export(engine, source, tmp_path, shard="60KB")
    yield engine, source, tmp_path, certificate
    engine.destroy()


def test_folder_is_certified_and_loads_as_bf16_with_a_cache(
    exported: tuple[Any, Path, Path, dict[str, Any]],
) -> None:
    _, source, folder, certificate = exported
    assert certificate["tensors_equal"]
    assert certificate["logits_equal"]
    assert certificate["files"] > 1
    index = json.loads((folder / "model.safetensors.index.json").read_bytes())
    assert len(index["weight_map"]) == certificate["tensors"]
    assert "lm_head.weight" not in index["weight_map"]  # tied: it is the embedding
    tensors = [part for path in folder.glob("*.safetensors") for part in load_file(path).values()]
    assert {tensor.dtype for tensor in tensors} == {torch.bfloat16}
    assert sum(tensor.numel() for tensor in tensors) == certificate["parameters"]
    config = json.loads((folder / "config.json").read_bytes())
    assert config["dtype"] == "bfloat16"
    assert config["use_cache"] is True
    before = json.loads((source / "config.json").read_bytes())
    assert {key: config[key] for key in before if key not in ("dtype", "use_cache")} == {
        key: value for key, value in before.items() if key not in ("dtype", "use_cache")
    }


def test_swapped_keys_and_values_are_found(
    exported: tuple[Any, Path, Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a wrong converter would: in the file, not in the engine."""
    from aurora_release.train import export as module

    engine, source, folder, _ = exported
    save = module._save

    def swap(*arguments: Any) -> None:
        save(*arguments)
        for path in folder.glob("*.safetensors"):
            tensors = load_file(path)
            _swap(tensors)
            save_file(tensors, path, metadata={"format": "pt"})

    monkeypatch.setattr(module, "_save", swap)
    with pytest.raises(AuroraError, match=r"differs in \d+ tensors, such as .*attn"):
        export(engine, source, folder)


def _swap(tensors: dict[str, torch.Tensor]) -> None:
    for name in [name for name in tensors if "k_proj" in name]:
        other = name.replace("k_proj", "v_proj")
        if other in tensors:
            tensors[name], tensors[other] = tensors[other], tensors[name]
    for name in [name for name in tensors if "c_attn.weight" in name]:
        queries, keys, values = tensors[name].split([64, 16, 16])
        tensors[name] = torch.cat([queries, values, keys])


def test_right_tensors_in_another_wiring_are_found(
    exported: tuple[Any, Path, Path, dict[str, Any]],
) -> None:
    """The logits are what finds a configuration that computes something else."""
    engine, source, folder, _ = exported
    config = engine.module.config
    key = "rms_norm_eps" if hasattr(config, "rms_norm_eps") else "layer_norm_epsilon"
    setattr(config, key, 0.5)
    with pytest.raises(AuroraError, match="gives other logits"):
        export(engine, source, folder)
