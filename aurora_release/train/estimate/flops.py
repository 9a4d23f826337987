"""How much arithmetic a token costs, and how much a device could do: the two sides of MFU."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aurora_release.errors import AuroraError

_LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3")

PEAKS = {
    "H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "H800": 989e12, "A100": 312e12,
    "A800": 312e12, "B200": 2250e12, "L40S": 362e12, "L40": 181e12, "L4": 121e12,
    "A40": 150e12, "A10": 125e12, "RTX 4090": 165e12, "MI300X": 1307e12,
    "MI250X": 191.5e12, "MI250": 181e12,
}  # fmt: skip
"""Dense bf16 FLOP/s from the vendors' data sheets, by a part of the device's name; the first that
fits counts. An MI250X is two devices to a program, so half of its figure stands here."""


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of training, forward and backward; nothing is recomputed in them.

    Two for a multiplication and an addition, and twice as many backward as forward, as Narayanan et
    al. 2021 (section 5.1) count them; attention is causal, so half of its square.
    """

    parameters: int
    """Of the whole model; tied matrices count once."""
    body: int
    """Per token: the matrices of all layers."""
    head: int
    """Per token whose next token is predicted: the output matrix."""
    pair: int
    """Per query and key that it may see, over all layers and heads."""
    sequence_length: int

    @property
    def total(self) -> float:
        """Per token of a document of `sequence_length` tokens."""
        return self.body + self.head + self.pair * (self.sequence_length + 1) / 2

    @property
    def six_n(self) -> int:
        """Per token, by the rule of thumb: six times the number of parameters."""
        return 6 * self.parameters

    def step(self, lengths: Iterable[int], predictions: int) -> float:
        """Return what a step costs whose documents have `lengths` tokens each."""
        sizes = list(lengths)
        pairs = sum(size * (size + 1) // 2 for size in sizes)
        return self.body * sum(sizes) + self.head * predictions + self.pair * pairs


def flops_per_token(config: Mapping[str, Any], sequence_length: int) -> Flops:
    """Return the cost of a token from a model's `config.json` (or `config.to_dict()`).

    Raises:
        AuroraError: the model is neither like llama nor gpt_bigcode.
    """
    kind = config.get("model_type")
    if kind == "gpt_bigcode":
        return _bigcode(config, sequence_length)
    if kind in _LLAMA_LIKE:
        return _llama(config, sequence_length)
    raise AuroraError(
        f"No count of operations for a model of type {kind!r}; there is one for gpt_bigcode, "
        f"{', '.join(_LLAMA_LIKE)}."
    )


def _llama(config: Mapping[str, Any], sequence_length: int) -> Flops:
    width, layers, heads = (
        int(config[key]) for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")
    )
    size = int(config.get("head_dim") or width // heads)
    keys = int(config.get("num_key_value_heads") or heads) * size
    inner, vocabulary = int(config["intermediate_size"]), int(config["vocab_size"])
    matrices = width * (2 * heads * size + 2 * keys + 3 * inner)
    vectors = 2 * width
    if config.get("attention_bias") or config["model_type"] == "qwen2":
        vectors += heads * size + 2 * keys
        vectors += width if config.get("attention_bias") else 0
    vectors += 2 * inner + width if config.get("mlp_bias") else 0
    vectors += 2 * size if config["model_type"] == "qwen3" else 0
    embeddings = vocabulary * width * (1 if config.get("tie_word_embeddings") else 2)
    return Flops(
        layers * (matrices + vectors) + embeddings + width,
        6 * layers * matrices,
        6 * width * vocabulary,
        12 * layers * heads * size,
        sequence_length,
    )


def _bigcode(config: Mapping[str, Any], sequence_length: int) -> Flops:
    width, layers, vocabulary, positions = (
        int(config[key]) for key in ("n_embd", "n_layer", "vocab_size", "n_positions")
    )
    inner = int(config.get("n_inner") or 4 * width)
    heads = int(config["n_head"])
    joint = width + 2 * (width // heads if config.get("multi_query", True) else width)
    matrices = width * (joint + width + 2 * inner)
    vectors = joint + width + inner + width + 4 * width
    tied = config.get("tie_word_embeddings", True)
    return Flops(
        layers * (matrices + vectors)
        + (vocabulary * (1 if tied else 2) + positions) * width
        + 2 * width,
        6 * layers * matrices,
        6 * width * vocabulary,
        12 * layers * width,
        sequence_length,
    )


@dataclass(frozen=True)
class Peak:
    """The most FLOP/s of one device, and where the figure is from."""

    flops: float
    source: str


def peak(bf16: bool) -> Peak | None:
    """Return the peak of this process's device: from the table, or measured on a CPU.

    None where it is a GPU that the table does not have.
    """
    import torch

    if not torch.cuda.is_available():
        kind = torch.bfloat16 if bf16 else torch.float32
        threads = torch.get_num_threads()
        return Peak(_product(kind), f"measured: {kind} product of 1024 by 1024, {threads} threads")
    name = torch.cuda.get_device_name()
    found = next((part for part in PEAKS if part in name), None)
    return Peak(PEAKS[found], f"data sheet: {found}, dense bf16") if found else None


def _product(kind: Any) -> float:
    """Return the FLOP/s of the fastest of several matrix products on the CPU; 0.2 s at most."""
    import torch

    left, right = torch.ones(1024, 1024, dtype=kind), torch.ones(1024, 1024, dtype=kind)
    seconds: list[float] = []
    until = time.perf_counter() + 0.2
    while not seconds or time.perf_counter() < until:
        began = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - began)
    return 2 * 1024**3 / min(seconds)
