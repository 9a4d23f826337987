"""Packed weights give the scores of plain ones."""

from copy import deepcopy

import pytest
import torch

from aurora_release.hardware import multiplies_bf16
from aurora_release.weight_layout import pack


def tiny(kind: str) -> torch.nn.Module:
    """Return a model of random weights, in evaluation mode."""
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = (
        {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}
        if kind == "gpt_bigcode"
        else {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
        | {"num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True}
    )
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=300, **sizes)
    return AutoModelForCausalLM.from_config(config).eval()


@torch.inference_mode()
def scores(model: torch.nn.Module, rows: int, tokens: int) -> torch.Tensor:
    ids = torch.arange(rows * tokens).reshape(rows, tokens) % 300
    return model(input_ids=ids).logits


@pytest.mark.parametrize("kind", ["llama", "gpt_bigcode"])
@pytest.mark.parametrize("shape", [(1, 1), (8, 1), (1, 33)])
def test_scores_are_those_of_the_plain_model(kind, shape):
    plain = tiny(kind)
    packed = deepcopy(plain)
    pack(packed)
    torch.testing.assert_close(scores(packed, *shape), scores(plain, *shape), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt_bigcode"])
@pytest.mark.skipif(not multiplies_bf16(), reason="this processor does not multiply bfloat16")
def test_scores_in_bfloat16_differ_by_rounding_at_most(kind):
    model = tiny(kind).to(torch.bfloat16)
    before = scores(model, 8, 3)
    pack(model)
    torch.testing.assert_close(scores(model, 8, 3), before, atol=1e-2, rtol=1e-2)


def test_weights_are_kept_once():
    model = tiny("llama")
    pack(model)
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    assert layers
    assert all(layer.weight is None for layer in layers)
    assert model.dtype == torch.float32


def test_layers_of_another_kind_stay():
    class Quantized(torch.nn.Linear):
        pass

    model = tiny("llama")
    kept = model.lm_head = Quantized(64, 300, bias=False)
    pack(model)
    assert kept.weight is not None
