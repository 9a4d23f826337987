"""The loss of packed rows: the documents' own, whatever is done to save time or memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from aurora_release.recipe import Train, TrainStage
from aurora_release.train import model as models
from aurora_release.train.loss import cross_entropy, packed_loss


def _train(**options: Any) -> Train:
    stage = TrainStage(name="cap", tokens=1, mixture={"a": 1.0}, learning_rate=1e-3)
    return Train(stages=(stage,), precision="fp32", **options)


def _rows() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two rows of two documents; the second document of the first row is a prompt and an answer."""
    made = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, 300, (2, 48), generator=made)
    positions = torch.cat([torch.arange(20), torch.arange(28)]).expand(2, -1)
    labels = tokens.masked_fill(positions == 0, -100)
    labels[0, 20:40] = -100
    return tokens, positions, labels


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_bigcode"])
def test_packed_loss_is_the_sum_of_the_documents_own(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(family)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    torch.manual_seed(0)
    first, second = torch.randint(3, 300, (1, 12)), torch.randint(3, 300, (1, 20))

    def loss(*documents: torch.Tensor) -> float:
        tokens = torch.cat(documents, 1)
        positions = torch.cat([torch.arange(d.shape[1])[None] for d in documents], 1)
        labels = tokens.masked_fill(positions == 0, -100)
        with torch.no_grad():
            return float(packed_loss(model, tokens, positions, labels))

    assert loss(first, second) == pytest.approx(loss(first) + loss(second), rel=1e-5)
    other = torch.randint(3, 300, (1, 12))
    assert loss(other, second) - loss(other) == pytest.approx(loss(second), rel=1e-5)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_cross_entropy_is_torch_s_own(kind: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aurora_release.train.loss._NUMBERS", 5 * 70)
    made = torch.Generator().manual_seed(0)
    logits = (torch.randn(23, 70, generator=made) * 9).to(kind)
    wanted = torch.randint(0, 70, (23,), generator=made)
    ours, plain = (logits.clone().requires_grad_() for _ in range(2))
    loss = cross_entropy(ours * 1, wanted)
    expected = torch.nn.functional.cross_entropy(plain.float(), wanted, reduction="sum")
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    (loss * 0.3).backward()
    (expected * 0.3).backward()
    torch.testing.assert_close(ours.grad, plain.grad)


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_bigcode"])
@pytest.mark.parametrize(
    "options",
    [{"loss_chunk": 7}, {"activation_checkpointing": True},
     {"loss_chunk": 1000, "activation_checkpointing": True}],
    ids=["chunks", "checkpointing", "both"],
)  # fmt: skip
def test_options_that_save_memory_change_neither_loss_nor_gradients(
    family: str, options: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(family)
    found = []
    for train in (_train(), _train(**options)):
        model = models.load(folder, train)
        torch.manual_seed(0)  # gpt_bigcode has dropout, and recomputes it
        loss = packed_loss(model, *_rows(), train.loss_chunk)
        loss.backward()
        found.append((loss.detach(), [weight.grad for weight in model.parameters()]))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=0)
    for plain, saving in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(saving, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.gpu  # it runs on a CPU too, where compiling takes a minute
@pytest.mark.filterwarnings("ignore")  # of torch, about itself
def test_compiled_layers_have_the_same_loss_and_gradients(tiny_llama: Path) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain, compiled = (
        models.load(tiny_llama, _train(compile=on)).to(device) for on in (False, True)
    )
    tokens, positions, labels = (part.to(device) for part in _rows())
    # other documents in the second round: lengths must not be compiled in
    for rows in ((tokens, positions, labels), (tokens[:1], positions[:1] % 16, labels[:1])):
        losses = []
        for model in (plain, compiled):
            model.zero_grad()
            losses.append(packed_loss(model, *rows))
            losses[-1].backward()
        torch.testing.assert_close(*losses, rtol=1e-6, atol=0)
        for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-4, atol=1e-4)


def test_the_head_is_computed_where_there_is_a_label(tiny_llama: Path) -> None:
    model = models.load(tiny_llama, _train())
    rows = []
    model.get_output_embeddings().register_forward_hook(
        lambda head, given, logits: rows.append(logits.shape[:-1].numel())
    )
    tokens, positions, labels = _rows()
    packed_loss(model, tokens, positions, labels)
    assert rows == [int((labels[:, 1:] != -100).sum())]


def test_rows_without_a_label_have_no_loss_and_a_gradient_of_zero(tiny_llama: Path) -> None:
    tokens, positions, labels = _rows()
    for chunk in (None, 5):
        model = models.load(tiny_llama, _train())
        loss = packed_loss(model, tokens, positions, labels.fill_(-100), chunk)
        loss.backward()
        assert loss.item() == 0
        assert all(weight.grad.abs().sum() == 0 for weight in model.parameters())
