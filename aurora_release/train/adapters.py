"""Low-rank adapters (LoRA, QLoRA): added to a frozen model, saved, merged at the end of a stage."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from aurora_release.errors import AuroraError
from aurora_release.recipe import Lora
from aurora_release.train.engine import meet, rank
from aurora_release.train.export import write

FOLDER = "adapter"


def load(source: Path, lora: Lora | None, kind: torch.dtype) -> Any:
    """Return the model in `source` with weights of `kind`; in 4 bits where `lora` wants that."""
    options: dict[str, Any] = {}
    if lora and lora.base == "nf4":
        # else transformers reads every weight before it quantizes the first
        os.environ.setdefault("HF_DEACTIVATE_ASYNC_LOAD", "1")
        options = {"quantization_config": _nf4(kind), "device_map": _place()}
    model = AutoModelForCausalLM.from_pretrained(
        source, dtype=kind, use_safetensors=True, **options
    )
    for part in model.modules():
        if hasattr(part, "support_avx512bf16_for_cpu"):
            # else bitsandbytes repacks the weights when it validates, and then trains on noise
            part.support_avx512bf16_for_cpu = False
    return model


def add(model: Any, lora: Lora) -> Any:
    """Return `model` frozen, with fresh adapters that alone are trained.

    A is random and B is zero (Hu et al. 2021, section 4.1): before the first step nothing changes.

    Raises:
        AuroraError: `targets` names no layer of the model.
    """
    targets = list(lora.targets) or "all-linear"
    how = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets,
        task_type="CAUSAL_LM",
    )  # fmt: skip
    try:
        with quiet():
            return get_peft_model(model, how)
    except ValueError:
        linear = {name.rpartition(".")[2] for name, part in model.named_modules()
                  if isinstance(part, torch.nn.Linear)}  # fmt: skip
        raise AuroraError(
            f"lora.targets, {', '.join(lora.targets)}, names no layer of this model; its linear "
            f"layers are {', '.join(sorted(linear))}."
        ) from None


def export(engine: Any, source: Path, folder: Path) -> dict[str, Any]:
    """Write the adapters of `engine`, and `source` with them merged; return its certificate."""
    import deepspeed

    model = engine.module
    mine = [weight for weight in model.parameters() if weight.requires_grad]
    found: dict[str, Any] = {}
    with deepspeed.zero.GatheredParameters(mine, enabled=engine.zero_optimization_stage() == 3):
        if rank() == 0:
            save(model, source, folder)
            found = write(merge(source, folder), source, folder)
    meet()
    return found


def save(model: Any, source: Path, folder: Path) -> None:
    """Write the adapters into `folder`/adapter, as peft reads them."""
    # where the frozen model lies as seen from the adapter, whatever folder the run is in
    model.peft_config["default"].base_model_name_or_path = f"../../{source.name}"
    model.save_pretrained(folder / FOLDER, save_embedding_layers=False)
    (folder / FOLDER / "README.md").unlink(missing_ok=True)  # a card with nothing in it
    (folder / FOLDER / "adapter_model.safetensors").chmod(0o644)


def merge(source: Path, folder: Path) -> Any:
    """Return the model in `source` with the adapters of `folder`/adapter added to its weights.

    The sum is in fp32, to be rounded once. It is taken onto the weights as they lie in
    `source`: an adapter that was trained over 4 bits learned to correct their error too, and that
    part of it is not undone.
    """
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, use_safetensors=True)
    with quiet():
        adapted = PeftModel.from_pretrained(model, folder / FOLDER)
        return adapted.merge_and_unload()


def evidence(model: Any, lora: Lora) -> dict[str, Any]:
    """Return what the evidence of a stage says about its adapters."""
    trained, whole = model.get_nb_trainable_parameters()
    return {
        "trained_parameters": trained,
        "parameters": whole - trained,
        "base": lora.base,
        "merged": "in fp32 onto the weights before the stage, then rounded to bf16",
    }


@contextmanager
def quiet() -> Iterator[None]:
    """Keep peft from importing GPTQModel, which prints a banner and sets variables for all."""
    hidden = "gptqmodel" not in sys.modules
    if hidden:
        sys.modules["gptqmodel"] = None  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            # peft and TRL ask transformers for a property by the name it had
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            yield
    finally:
        if hidden:
            del sys.modules["gptqmodel"]


def _nf4(kind: torch.dtype) -> Any:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=kind,
    )


def _place() -> Any:
    """Return where 4-bit weights are made: on this process's GPU, else on the CPU."""
    return {"": torch.cuda.current_device()} if torch.cuda.is_available() else "cpu"
