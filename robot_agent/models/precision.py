"""Which precision the networks run in: bfloat16 where the processor computes in it, else float32.

A processor without such instructions emulates them: convolutions then take up to twenty times as
long as in float32 (AVX2 only, batch of 8 of the tiny world model: 0.83 s against 0.04 s).
"""

from functools import cache

import torch


@cache
def has_bfloat16() -> bool:
    """Return whether this processor has instructions for bfloat16 products."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16", "sve_bf16", "bf16"))


def fast_autocast() -> torch.autocast:
    """Return a context that computes in bfloat16 where that is faster, and else as it is."""
    return torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16())


def fast_dtype() -> torch.dtype:
    """Return the type that large networks are kept in: the one that this processor computes in."""
    return torch.bfloat16 if has_bfloat16() else torch.float32
