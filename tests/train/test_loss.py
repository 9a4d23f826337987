"""Packed documents do not see each other."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from aurora_release.train.loss import packed_loss


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
