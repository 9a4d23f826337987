"""A GGUF file for llama.cpp, written tensor by tensor."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release.errors import AuroraError
from aurora_release.quantize.folder import TEMPLATE, configuration, take_over
from aurora_release.quantize.importance import importance
from aurora_release.quantize.llama_cpp import FILE_TYPES, library, requantize
from aurora_release.quantize.vocabulary import add_vocabulary

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

FILE = "model.gguf"

_WHOLE = "whole.gguf"
# largest weight whose block scale is a finite float16, by steps of the type
_LARGEST = {"BF16": float("inf"), "F32": float("inf"), "Q8_0": 127, "Q5_0": 16, "Q4_0": 8}


def gguf(
    source: Path, out: Path, *, type: str, samples: Sequence[Sequence[int]] | None = None
) -> None:
    """Write `model.gguf` with the model, tokenizer and chat template of `source` to `out`.

    Vectors are float32 as llama.cpp wants them, matrices are of `type`; rows that are no multiple
    of its block stay F16, or what llama.cpp's quantizer takes instead. Memory holds one tensor at
    a time. Same source, same bytes. K types take the importance of inputs from `samples`.

    Raises:
        AuroraError: a model or tokenizer that GGUF or this writer has no place for.
    """
    if type not in FILE_TYPES:
        _write_file(source, out / FILE, type)
    else:
        library(samples is not None)
        whole = out / _WHOLE
        _write_file(source, whole, _stored(configuration(source)), checked=type)
        weights = None if samples is None else importance(source, samples)
        requantize(whole, out / FILE, type, weights)
        whole.unlink()
    take_over(source, out, generation=False)


def types(file: Path) -> dict[str, int]:
    """Return how many tensors of a GGUF file have each storage type."""
    from gguf import GGUFReader

    found = Counter(tensor.tensor_type.name for tensor in GGUFReader(file).tensors)
    return dict(sorted(found.items()))


def check(source: Path, type: str, importance: bool = False) -> None:
    """Check all that a GGUF file of `type` needs, before any work.

    Raises:
        AuroraError: what `gguf` would raise of the model's settings, tokenizer and llama.cpp.
    """
    if importance and type not in FILE_TYPES:
        raise AuroraError(
            f"importance: {type} does not use it; choose one of {', '.join(FILE_TYPES)}."
        )
    if type in FILE_TYPES:
        library(importance)
    # a writer writes nothing before it is told to
    _header(source, source / FILE)


def _header(source: Path, path: Path) -> tuple[Any, dict[str, Any]]:
    """Return a writer that knows settings and tokenizer, and the settings."""
    from gguf import GGUFWriter
    from transformers import AutoConfig

    architecture = _architecture(configuration(source), source)
    # with the defaults of the settings that the file is silent about
    config = AutoConfig.from_pretrained(source, local_files_only=True).to_dict()
    writer = GGUFWriter(path, architecture)
    writer.add_type("model")
    (_llama if architecture == "llama" else _starcoder)(writer, config, source)
    add_vocabulary(writer, source, config["vocab_size"])
    return writer, config


def _stored(config: dict[str, Any]) -> str:
    """Return the type that holds the weights of a checkpoint exactly."""
    dtype = config.get("dtype") or config.get("torch_dtype")
    return {"bfloat16": "BF16", "float16": "F16"}.get(str(dtype), "F32")


def _write_file(source: Path, path: Path, type: str, checked: str | None = None) -> None:
    """Write one GGUF file; weights must be finite in the type `checked` that they will get."""
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    writer, config = _header(source, path)
    writer.add_file_type(LlamaFileType["ALL_F32" if type == "F32" else f"MOSTLY_{type}"])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    template = source / TEMPLATE
    if template.is_file():
        writer.add_chat_template(template.read_text(encoding="utf-8"))
    _write(writer, source, config, type, checked)


def _architecture(config: dict[str, Any], source: Path) -> str:
    """Return llama.cpp's name of the architecture."""
    kind = config.get("model_type")
    names = {"llama": "llama", "gpt_bigcode": "starcoder"}
    if kind not in names:
        raise AuroraError(
            f"{source}: a model of type {kind!r} cannot be written as GGUF here; "
            f"{' and '.join(names)} can. Leave gguf out of `quantize`, or use llama.cpp's own."
        )
    return names[kind]


def _require(config: dict[str, Any], source: Path, allowed: dict[str, tuple[Any, ...]]) -> None:
    """Check settings that llama.cpp takes for granted: another value would run and be wrong."""
    for key, values in allowed.items():
        found = config.get(key, values[0])
        if found not in values:
            raise AuroraError(
                f"{source / 'config.json'}: {key} is {found!r}, and llama.cpp computes this "
                f"architecture with {' or '.join(map(repr, values))} only. Leave gguf out of "
                "`quantize`."
            )


def _llama(writer: Any, config: dict[str, Any], source: Path) -> None:
    rope = config["rope_parameters"]
    _require(config, source, {"hidden_act": ("silu",)})
    _require(rope, source, {"rope_type": ("default",), "partial_rotary_factor": (1.0,)})
    heads = config["num_attention_heads"]
    width = config["head_dim"]
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def _starcoder(writer: Any, config: dict[str, Any], source: Path) -> None:
    # llama.cpp computes all of them by the tanh form, which is within 0.0005 of the exact one
    gelu = ("gelu_pytorch_tanh", "gelu_new", "gelu")
    _require(
        config,
        source,
        {"multi_query": (True,), "scale_attn_weights": (True,), "activation_function": gelu},
    )
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_feed_forward_length(config["n_inner"] or 4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_head_count_kv(1)
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def _write(
    writer: Any, source: Path, config: dict[str, Any], type: str, checked: str | None
) -> None:
    """Write the header, then each tensor of the source in turn."""
    from gguf.quants import quantize

    tensors = _tensors(writer.arch, source, config)
    kinds = {}
    for name, (file, key) in tensors.items():
        shape = file.get_slice(key).get_shape()
        kinds[name] = _kind(name, shape, type)
        writer.add_tensor_info(name, shape, None, _bytes(shape, kinds[name]), kinds[name])
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, (file, key) in tensors.items():
            values = _arranged(file.get_tensor(key).float(), key, config)
            _check_range(values, checked or kinds[name].name, key, source)
            writer.write_tensor_data(quantize(values.numpy(), kinds[name]))
    finally:
        writer.close()


def _tensors(architecture: str, source: Path, config: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    """Return {GGUF name: (open file, name in it)}, in an order that is always the same."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    from safetensors import safe_open

    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == architecture)
    layers = config["n_layer" if architecture == "starcoder" else "num_hidden_layers"]
    names = get_tensor_name_map(arch, layers)
    found: dict[str, tuple[Any, str]] = {}
    for path in sorted(source.glob("*.safetensors")):
        file: Any = safe_open(path, "pt")
        for key in sorted(file.keys()):
            # masks that old checkpoints carry, and the copy of tied embeddings
            if key.endswith((".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")) or (
                key == "lm_head.weight" and config["tie_word_embeddings"]
            ):
                continue
            name = names.get_name(key, try_suffixes=(".weight", ".bias"))
            if name is None:
                raise AuroraError(
                    f"{path} holds {key}, which GGUF has no place for in a {architecture} model."
                )
            found[name] = (file, key)
    return found


def _kind(name: str, shape: list[int], type: str) -> Any:
    """Return the storage type of a tensor: llama.cpp adds vectors and positions in float32."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    if len(shape) == 1 or name == "position_embd.weight":
        return GGMLQuantizationType.F32
    kind = GGMLQuantizationType[type]
    return GGMLQuantizationType.F16 if shape[-1] % GGML_QUANT_SIZES[kind][0] else kind


def _bytes(shape: list[int], kind: Any) -> int:
    from math import prod

    from gguf import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[kind]
    return int(prod(shape) // block * size)


def _arranged(values: "torch.Tensor", key: str, config: dict[str, Any]) -> "torch.Tensor":
    """Return a tensor as llama.cpp expects it; only queries and keys of llama differ.

    transformers rotates the first half of a head against the second, llama.cpp even rows against
    odd ones: [head, half, row] becomes [head, row, half].
    """
    if config["model_type"] != "llama" or ".q_proj." not in key and ".k_proj." not in key:
        return values
    heads = config["num_attention_heads"]
    if ".k_proj." in key:
        heads = config["num_key_value_heads"]
    size, width = values.shape[0], values.shape[1:]
    return (
        values.reshape(heads, 2, size // heads // 2, *width).transpose(1, 2).reshape(size, *width)
    )


def _check_range(values: "torch.Tensor", kind: str, key: str, source: Path) -> None:
    """Check that a tensor stays finite in its storage type, whose block scales are F16."""
    limit = 65504.0 * _LARGEST.get(kind, 1)
    if not values.isfinite().all():
        raise AuroraError(f"{source}: {key} holds numbers that are not finite; train again.")
    if values.abs().max() > limit:
        raise AuroraError(
            f"{source}: {key} holds {values.abs().max():.3g}, beyond the {limit:.3g} of {kind}; "
            f"{'choose type Q8_0' if kind == 'F16' else 'leave gguf out of `quantize`'}."
        )
