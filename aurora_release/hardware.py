"""What this machine can do."""

import time
from functools import cache
from typing import Any


@cache
def multiplies_bf16() -> bool:
    """Return whether bfloat16 is the faster type to multiply in here.

    A processor may know bfloat16 and still be slower in it (seen: a virtual Sapphire Rapids
    without AMX, 0.6 x fp32), so the two are timed once, on a product that takes milliseconds.
    """
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    flags = torch.cpu.get_capabilities()
    if not any(flags.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")):
        return False
    return _seconds(torch.bfloat16) * 1.2 < _seconds(torch.float32)


def _seconds(dtype: Any) -> float:
    """Return the shortest time of a matrix product in `dtype`."""
    import torch

    rows = torch.ones(512, 512, dtype=dtype)
    times = []
    for _ in range(7):
        began = time.perf_counter()
        torch.mm(rows, rows)
        times.append(time.perf_counter() - began)
    return min(times)
