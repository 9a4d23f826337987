"""Seconds of the parts of a step, and MFU from the documents that were read."""

import time
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from aurora_release.train.batches import MicroBatch
from aurora_release.train.estimate.flops import flops_per_token
from aurora_release.train.watch.pace import Pace


def _batch(*lengths: int) -> MicroBatch:
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    return MicroBatch(
        torch.ones_like(positions), positions, positions.masked_fill(positions == 0, -100)
    )


def test_parts_add_up_and_mfu_counts_documents(tiny_llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    pace = Pace(model, bf16=False)
    pace.begin()
    for part in ("data", "forward", "backward", "forward", "backward", "optimizer"):
        time.sleep(0.002)
        pace.mark(part)
    row = pace.row([_batch(9, 4), _batch(20)], tokens=40)
    total = sum(value for name, value in row.items() if name.endswith("_seconds"))
    assert row["forward_seconds"] >= 0.004  # two sleeps
    assert row["tokens_per_second"] == pytest.approx(40 / total, rel=1e-3)
    assert row["tokens_read"] == 33
    cost = flops_per_token(model.config.to_dict(), 1)
    assert pace.peak is not None
    flops = cost.step([9, 4, 20], predictions=8 + 3 + 19)
    assert row["mfu"] * pace.peak.flops * total == pytest.approx(flops, rel=1e-3)
    assert pace.facts([row, row])["mfu"] == row["mfu"]


def test_frozen_weights_have_no_mfu(tiny_llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    next(iter(model.parameters())).requires_grad_(False)
    pace = Pace(model, bf16=False)
    pace.begin()
    pace.mark("data")
    row = pace.row([_batch(3)], tokens=3)
    assert row["mfu"] is None
    assert pace.facts([row])["peak"] is None
