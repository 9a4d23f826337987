"""Writes the trained weights as a normal HF folder."""

import shutil
from pathlib import Path
from typing import Any

from aurora_release.train.engine import rank

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
)


def export(engine: Any, source: Path, folder: Path) -> None:
    """Write bf16 safetensors, configuration, tokenizer and chat template into `folder`."""
    import deepspeed
    import torch

    weights = list(engine.module.parameters())
    with deepspeed.zero.GatheredParameters(weights, enabled=engine.zero_optimization_stage() == 3):
        if rank() != 0:
            return
        engine.module.config.use_cache = True
        engine.module.to(torch.bfloat16).save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes files that only their owner can read
    for name in _TOKENIZER:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
