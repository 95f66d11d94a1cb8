"""In which numbers small networks compute on this processor."""

from functools import cache

import torch


@cache
def has_fast_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 itself; emulated it is 30 times slower."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def mixed_precision() -> torch.autocast:
    """Return a context that computes in bfloat16 where that is fast, else in float32.

    Measured, one core, `TinyPolicy` forward on 48 pictures: 2.85 s in bfloat16 and 0.08 s in
    float32 on an EPYC without AVX-512; with AVX512-BF16 bfloat16 is 1.5 to 1.9 times faster.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16())


def fast_dtype() -> torch.dtype:
    """Return the type to keep large networks in: the one that this processor computes in."""
    return torch.bfloat16 if has_fast_bfloat16() else torch.float32
