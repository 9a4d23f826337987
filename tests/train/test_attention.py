"""Packed documents do not see each other, not in one bit, and no mask is built for it."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from aurora_release.train.attention import NAME
from aurora_release.train.loss import packed_loss
from aurora_release.train.model import attend_per_document

LENGTHS = (37, 1, 230, 12, 120)
FAMILIES = ("tiny_llama", "tiny_bigcode")


def _model(folder: Path, attention: str, kind: torch.dtype = torch.float32) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=kind).eval()
    if attention == NAME:
        assert attend_per_document(model)
    return model


def _documents(seed: int) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 300, (1, length), generator=made) for length in LENGTHS]


def _pack(documents: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    positions = [torch.arange(document.shape[1])[None] for document in documents]
    return torch.cat(documents, 1), torch.cat(positions, 1)


def _logits(model: Any, tokens: torch.Tensor, positions: torch.Tensor | None = None) -> Any:
    with torch.no_grad():
        return model(input_ids=tokens, position_ids=positions, use_cache=False).logits


@pytest.fixture(params=FAMILIES)
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_another_first_document_changes_no_bit_of_the_others(
    folder: Path, kind: torch.dtype
) -> None:
    model = _model(folder, NAME, kind)
    documents = _documents(0)
    tokens, positions = _pack(documents)
    other, _ = _pack([_documents(1)[0], *documents[1:]])
    # the second row is there to be disturbed by the first
    before = _logits(model, torch.cat([tokens, tokens]), torch.cat([positions, positions]))
    after = _logits(model, torch.cat([other, tokens]), torch.cat([positions, positions]))
    first = LENGTHS[0]
    assert not torch.equal(before[0, :first], after[0, :first])
    assert torch.equal(before[0, first:], after[0, first:])
    assert torch.equal(before[1], after[1])


def test_packed_logits_are_the_documents_own(folder: Path) -> None:
    ours, plain = _model(folder, NAME), _model(folder, "sdpa")
    documents = _documents(0)
    packed = _logits(ours, *_pack(documents)).split(LENGTHS, 1)
    for document, found in zip(documents, packed, strict=True):
        torch.testing.assert_close(found, _logits(plain, document), rtol=0, atol=2e-5)


def test_gradients_are_those_of_a_dense_mask(folder: Path) -> None:
    tokens, positions = _pack(_documents(0))
    labels = tokens.masked_fill(positions == 0, -100)
    gradients = []
    for attention in (NAME, "sdpa"):
        model = _model(folder, attention)
        packed_loss(model, tokens, positions, labels).backward()
        gradients.append([weight.grad for weight in model.parameters()])
    for ours, dense in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-4, atol=1e-4)


def test_autocast_keeps_documents_apart_too(folder: Path) -> None:
    tokens, positions = _pack(_documents(0))
    other, _ = _pack([_documents(1)[0], *_documents(0)[1:]])
    model = _model(folder, NAME)
    with torch.autocast("cpu", torch.bfloat16):
        before, after = (_logits(model, each, positions) for each in (tokens, other))
    assert torch.equal(before[0, LENGTHS[0] :], after[0, LENGTHS[0] :])
    torch.testing.assert_close(
        before.float(), _logits(model, tokens, positions), rtol=0.1, atol=0.5
    )


def test_no_mask_is_built(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**given: object) -> None:
        raise AssertionError("a dense mask")

    model = _model(folder, NAME)
    monkeypatch.setattr("transformers.masking_utils.sdpa_mask", never)
    assert _logits(model, *_pack(_documents(0))).shape[1] == sum(LENGTHS)


def test_padding_and_a_cache_still_get_the_mask_they_need(folder: Path) -> None:
    ours, plain = _model(folder, NAME), _model(folder, "sdpa")
    tokens = torch.cat([_documents(0)[0], _documents(1)[0]])
    mask = torch.ones_like(tokens)
    mask[0, :9] = 0
    for model in (ours, plain):
        model.generation_config.pad_token_id = 0
    made = [
        model.generate(tokens, attention_mask=mask, max_new_tokens=6, do_sample=False)
        for model in (ours, plain)
    ]
    assert torch.equal(*made)


def test_loss_ignores_a_cache_that_the_configuration_asks_for(folder: Path) -> None:
    model = _model(folder, NAME)
    tokens, positions = _pack(_documents(0))
    labels = tokens.masked_fill(positions == 0, -100)
    right = packed_loss(model, tokens, positions, labels).item()
    model.config.use_cache = True
    assert packed_loss(model, tokens, positions, labels).item() == right


def test_a_model_with_another_attention_keeps_its_mask(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aurora_release")
    config = Gemma2Config(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, sliding_window=16,
    )  # fmt: skip
    model = Gemma2ForCausalLM(config)
    assert not attend_per_document(model)
    assert model.config._attn_implementation != NAME
    assert "sliding_window" in caplog.text


@pytest.mark.gpu
def test_the_kernel_for_unequal_lengths_agrees_with_one_call_a_document(folder: Path) -> None:
    tokens, positions = _pack(_documents(0))
    labels = tokens.masked_fill(positions == 0, -100)
    losses, gradients = [], []
    for device in ("cpu", "cuda"):
        model = _model(folder, NAME, torch.bfloat16).to(device)
        loss = packed_loss(model, *(part.to(device) for part in (tokens, positions, labels)))
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([w.grad.flatten().float().cpu() for w in model.parameters()]))
    assert losses[1] == pytest.approx(losses[0], rel=5e-3)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
