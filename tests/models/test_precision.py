"""Numbers of half the width are used where the processor has them, and nowhere else."""

import pytest
import torch

from robot_agent.models import precision


@pytest.mark.parametrize(
    ("able", "wanted"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_bfloat16_is_used_where_the_processor_multiplies_it(monkeypatch, able, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    precision.has_fast_bfloat16.cache_clear()
    with precision.mixed_precision():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    precision.has_fast_bfloat16.cache_clear()
    assert product.dtype == wanted
