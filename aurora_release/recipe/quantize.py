"""The part of a recipe that names its smaller variants."""

from typing import Annotated, Literal

from pydantic import Field

from aurora_release.recipe.part import Count, Name, Part


class Nf4(Part):
    """bitsandbytes 4-bit NormalFloat with double quantization."""

    method: Literal["nf4"]
    name: Name = "nf4"


class Int8(Part):
    """bitsandbytes LLM.int8: 8 bits, with the largest inputs multiplied in 16."""

    method: Literal["int8"]
    name: Name = "int8"


class Gptq(Part):
    """GPTQ, calibrated on the mixture of the last training stage."""

    method: Literal["gptq"]
    name: Name = "gptq"
    bits: Literal[2, 3, 4, 8] = 4
    group_size: Count = 64
    act_order: bool = False
    """Round the inputs that matter most first (`desc_act`): closer, and slower to serve."""
    samples: Count = 32
    """Calibration samples of `data.sequence_length` tokens."""
    sources: tuple[str, ...] = ()
    """Calibrate on these sources only; without them, on all of the mixture in its shares."""


class Gguf(Part):
    """A GGUF file for llama.cpp."""

    method: Literal["gguf"]
    name: Name = "gguf"
    type: Literal[
        "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0", "Q6_K", "Q5_K_M", "Q4_K_M"
    ] = "Q8_0"
    """Those with a K are written by llama.cpp's own quantizer, where that is installed."""
    importance: bool = False
    """Let a K type weigh each input by how much it carries on the mixture (imatrix)."""
    samples: Count = 32
    """Samples of `data.sequence_length` tokens that the importance is measured on."""
    sources: tuple[str, ...] = ()
    """Measure importance on these sources only."""


class Compressed(Part):
    """compressed-tensors for vLLM, by llmcompressor in an environment of its own."""

    method: Literal["compressed-tensors"]
    name: Name = "compressed"
    scheme: Literal["W4A16", "W8A8"] = "W4A16"
    """Bits of weights and activations; either is GPTQ, calibrated on the mixture."""
    group_size: Count = 64
    """Of W4A16; W8A8 has a scale for each output."""
    samples: Count = 32
    """Calibration samples of `data.sequence_length` tokens."""
    sources: tuple[str, ...] = ()
    """Calibrate on these sources only."""


Quantization = Annotated[Nf4 | Int8 | Gptq | Gguf | Compressed, Field(discriminator="method")]
