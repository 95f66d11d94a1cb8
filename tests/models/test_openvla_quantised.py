"""Eight and four bits: near the weights where the library is there, said in words where not."""

import sys

import pytest
import torch

from robot_agent.core.errors import ConfigError
from robot_agent.models.openvla_quantised import quantize
from robot_agent.models.openvla_tensors import load_openvla
from tests.models.tiny_openvla import PROMPTS, TINY, write_folder


@pytest.fixture
def network(tmp_path):
    return load_openvla(write_folder(tmp_path), TINY, dtype=torch.float32)


def test_missing_library_names_the_remedy(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ConfigError, match="pip install bitsandbytes, or run in bfloat16"):
        quantize(network, 8)


@pytest.mark.parametrize(("bits", "limit"), [(8, 0.02), (4, 0.4)])
@torch.no_grad()
def test_fewer_bits_give_nearly_the_same_distributions(network, bits, limit):
    pytest.importorskip("bitsandbytes", reason="optional")
    pixels = torch.randn(1, 6, 28, 28, generator=torch.Generator().manual_seed(0))

    def probabilities():
        context = network.context(pixels)
        return network.parallel_logits(context, [PROMPTS["short"]], 5).softmax(-1)

    exact = probabilities()
    quantize(network, bits)
    apart = (probabilities() - exact).abs().sum(-1).mean() / 2
    assert 0.0 < apart < limit
