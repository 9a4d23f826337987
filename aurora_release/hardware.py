"""What this machine can do."""

from functools import cache


@cache
def multiplies_bf16() -> bool:
    """Return whether the accelerator, or else the processor, multiplies bfloat16 natively."""
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    flags = torch.cpu.get_capabilities()
    return bool(flags.get("avx512_bf16") or flags.get("amx_bf16") or flags.get("bf16"))
