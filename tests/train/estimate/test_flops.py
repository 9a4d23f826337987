"""The count of operations is that of the real model's matrices."""

import json
from pathlib import Path

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM

from aurora_release.errors import AuroraError
from aurora_release.train.estimate.flops import flops_per_token, peak

SHAPES = [
    {"model_type": "llama", "tie_word_embeddings": True, "num_key_value_heads": 2},
    {"model_type": "llama", "attention_bias": True, "mlp_bias": True, "head_dim": 24},
    {"model_type": "qwen2"},
    {"model_type": "qwen3", "head_dim": 16},
    {"model_type": "mistral"},
    {"model_type": "gpt_bigcode"},
    {"model_type": "gpt_bigcode", "multi_query": False, "n_inner": 96},
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape.values())))
def test_parameters_and_matrices_are_the_model_s(shape: dict[str, object]) -> None:
    kind = CONFIG_MAPPING[shape["model_type"]]
    sizes = {"vocab_size": 640, "hidden_size": 64, "intermediate_size": 128,
             "num_hidden_layers": 3, "num_attention_heads": 4}  # fmt: skip
    if shape["model_type"] == "gpt_bigcode":
        sizes = {"vocab_size": 640, "n_embd": 64, "n_layer": 3, "n_head": 4}
    config = kind(**{**sizes, **{k: v for k, v in shape.items() if k != "model_type"}})
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    found = flops_per_token(json.loads(config.to_json_string(use_diff=False)), 100)
    assert found.parameters == sum(weight.numel() for weight in model.parameters())
    linear = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
    assert found.body + found.head == 6 * sum(part.weight.numel() for part in linear)
    size = config.to_dict().get("head_dim") or 16
    assert found.pair == 3 * 2 * 2 * 3 * 4 * size


def test_operations_are_those_that_torch_counts(tiny_llama: Path) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = AutoModelForCausalLM.from_pretrained(tiny_llama, attn_implementation="eager")
    tokens = torch.randint(3, 300, (1, 64))
    with FlopCounterMode(display=False) as counter:
        model(tokens, use_cache=False).logits.sum().backward()
    config = json.loads((tiny_llama / "config.json").read_text(encoding="utf-8"))
    found = flops_per_token(config, 64)
    # eager attention computes the whole square
    square = 64 * found.body + 64 * found.head + found.pair * 64 * 64
    assert counter.get_total_flops() == pytest.approx(square, rel=0.01)


def test_a_step_costs_what_its_documents_and_predictions_cost() -> None:
    config = AutoConfig.for_model("llama").to_dict()
    found = flops_per_token(config, 10)
    assert found.step([10], predictions=10) == pytest.approx(10 * found.total)
    assert found.step([5, 5], predictions=10) < found.step([10], predictions=10)
    assert found.step([10], predictions=4) == 10 * found.total - 6 * found.head
    assert found.six_n == 6 * found.parameters


def test_a_model_of_another_kind_is_named() -> None:
    with pytest.raises(AuroraError, match="'mamba'"):
        flops_per_token({"model_type": "mamba"}, 1)


def test_the_peak_of_this_device_has_a_source() -> None:
    found = peak(bf16=False)
    if torch.cuda.is_available():
        assert found is None or "data sheet" in found.source
    else:
        assert found is not None
        assert "measured" in found.source
        assert found.flops > 1e9
