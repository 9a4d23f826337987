"""Opens a model folder or a quantized variant for scoring and generation."""

import importlib.util
import io
import logging
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release import parse
from aurora_release.errors import AuroraError, missing_extra
from aurora_release.evaluate.gguf import open_gguf, opens
from aurora_release.evaluate.likelihood import Likelihood, Window, likelihoods
from aurora_release.evidence import sha256
from aurora_release.hardware import multiplies_bf16

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

GGUF = "model.gguf"

_NEEDS = {
    "gguf": ("gguf",), "bitsandbytes": ("bitsandbytes",), "gptq": ("optimum", "gptqmodel"),
    "compressed-tensors": ("compressed_tensors",),
}  # fmt: skip


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode and the tokenizer and chat template beside it."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerFast"
    template_digest: str | None
    """SHA-256 of the chat template; None where there is none."""

    @property
    def longest(self) -> int | None:
        """Tokens that the model can see at once; None where its configuration does not say."""
        return getattr(self.model.config, "max_position_embeddings", None)

    def likelihoods(self, windows: Sequence[Window], batch_tokens: int) -> list[Likelihood]:
        """Return the likelihood of each window; at most `batch_tokens` (or one row) at a time."""
        return likelihoods(self.model, windows, batch_tokens)


def load(folder: Path, exact: bool = False, unpacked: bool = False) -> LoadedModel:
    """Return the model in `folder`: plain Hugging Face, NF4, GPTQ or GGUF.

    It computes in float32 where `exact`, otherwise in bfloat16 where the machine multiplies that.
    No code from the folder is run, and only safetensors and GGUF weights are read. Where
    `unpacked`, GPTQ layers that have no kernel for packed weights unpack them once, not at every
    step: the same numbers, sooner, in the memory of the source.

    Raises:
        AuroraError: the folder is missing, incomplete or unreadable, or a package is not installed.
    """
    quantized = method(folder)
    for package in _NEEDS.get(quantized or "", ()):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "quantize")
    with _readable_errors(folder):
        tokenizer = load_tokenizer(folder)
        model = _model(folder, quantized, exact)
    for layer in model.modules() if unpacked else ():
        if hasattr(layer, "_cache_enabled"):
            layer._cache_enabled = True
    template = tokenizer.chat_template
    return LoadedModel(model, tokenizer, sha256(template.encode()) if template else None)


def method(folder: Path) -> str | None:
    """Return how the weights in `folder` are quantized; None where they are not.

    Raises:
        AuroraError: it is no model folder.
    """
    if not folder.is_dir():
        raise AuroraError(f"{folder} is not a folder: name a model folder.")
    if (folder / GGUF).is_file():
        return "gguf"
    config = folder / "config.json"
    if not config.is_file():
        raise AuroraError(
            f"{folder} has no config.json (and no {GGUF}), so it is no model folder. "
            "Name the folder that holds both the configuration and the weights."
        )
    if not any(folder.glob("*.safetensors")):
        raise AuroraError(
            f"{folder} has no *.safetensors weights. Pickled weights are not read: "
            "save the model again with save_pretrained, which writes safetensors."
        )
    try:
        content = parse.json_text(config.read_bytes())
        found = (content.get("quantization_config") or {}).get("quant_method")
    except ValueError as error:
        raise AuroraError(f"{config} is not valid JSON ({error}): fetch the file again.") from None
    except AttributeError:
        raise AuroraError(
            f"{config} is no configuration of a model: an object is expected, and an object under "
            "quantization_config. Fetch the file again."
        ) from None
    return str(found) if found else None


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """Return the tokenizer in a model folder.

    Raises:
        AuroraError: there is none.
    """
    # never from the GGUF: that takes seventeen seconds and loses the digit pre-tokenizer
    if not (folder / "tokenizer.json").is_file():
        raise AuroraError(
            f"{folder} has no tokenizer.json. Copy the tokenizer files of the source model into it."
        )
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def _model(folder: Path, method: str | None, exact: bool) -> "PreTrainedModel":
    """Return the model on the fastest device, every weight of it read from the folder."""
    import torch

    dtype = torch.bfloat16 if multiplies_bf16() and not exact else torch.float32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if method == "gguf" and opens(folder / GGUF):
        model, missing = open_gguf(folder / GGUF, dtype, device)
    else:
        model, missing = _from_pretrained(folder, method, dtype, device)
    if missing:
        raise AuroraError(
            f"{folder} lacks {len(missing)} weights of its model, first {missing[0]}: "
            "the weights are incomplete or belong to another configuration."
        )
    return model


def _from_pretrained(
    folder: Path, method: str | None, dtype: "torch.dtype", device: str
) -> tuple["PreTrainedModel", list[str]]:
    """Return the model, and the names of weights that the folder lacks."""
    from transformers import AutoModelForCausalLM
    from transformers.utils.quantization_config import GgufConfig

    how: dict[str, Any] = {"use_safetensors": True}
    if method == "gguf":
        # transformers has no CPU kernel for GGUF blocks: the same numbers, unpacked
        how = {"gguf_file": GGUF, "quantization_config": GgufConfig(dequantize=True)}
    with _quiet(), _packed_bigcode():
        model, found = AutoModelForCausalLM.from_pretrained(
            folder,
            # bitsandbytes computes in the type the folder was saved in; another beside it fails
            dtype="auto" if method == "bitsandbytes" else dtype,
            device_map={"": device},
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **how,
        )
    for layer in model.modules():
        # gptqmodel compiles it in layers that are not of 4 bits: it wants a compiler, and minutes
        layer.__dict__.pop("dequantize_weight", None)
    return model, sorted(found["missing_keys"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what bitsandbytes and gptqmodel say about themselves as they are loaded."""
    # gptqmodel 7.6 refuses to load on two cores otherwise, and reads this at import
    os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    if importlib.util.find_spec("logbar"):
        with redirect_stdout(io.StringIO()):  # its import prints an empty line
            from logbar import LogBar  # type: ignore[import-untyped]

            LogBar.shared().setLevel("ERROR")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script_method` is", DeprecationWarning)
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is", FutureWarning)
        yield


@contextmanager
def _packed_bigcode() -> Iterator[None]:
    """Let transformers 5.23 load gpt_bigcode with packed layers.

    Its `_init_weights` fills `c_proj.weight`, which a GPTQ layer does not have as a tensor.
    """
    import torch
    from transformers.models.gpt_bigcode.modeling_gpt_bigcode import GPTBigCodePreTrainedModel

    original = GPTBigCodePreTrainedModel._init_weights

    def unless_packed(model: Any, module: Any) -> None:
        weight = getattr(getattr(module, "c_proj", None), "weight", None)
        if not hasattr(module, "c_proj") or isinstance(weight, torch.Tensor):
            original(model, module)

    GPTBigCodePreTrainedModel._init_weights = unless_packed
    try:
        yield
    finally:
        GPTBigCodePreTrainedModel._init_weights = original


@contextmanager
def _readable_errors(folder: Path) -> Iterator[None]:
    """Turn what the libraries raise over files they cannot use into one sentence."""
    from safetensors import SafetensorError

    try:
        yield
    except (
        OSError, ValueError, LookupError, ArithmeticError, ImportError, MemoryError, struct.error,
        SafetensorError,
    ) as error:  # fmt: skip
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise AuroraError(
            f"{folder} cannot be read as a model ({first}). Make or fetch the folder again."
        ) from error
