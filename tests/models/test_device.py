"""A device that is not there, and too little memory, are said before anything starts."""

import pytest
import torch

from robot_agent.core.errors import ConfigError
from robot_agent.models.device import device_of, require_device_memory


def test_the_processor_is_always_there():
    assert device_of("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cpu:1", "cuda:x", "", "cuda:-1"])
def test_another_word_is_refused(name):
    with pytest.raises(ConfigError, match="must be cpu, cuda or cuda:N"):
        device_of(name)


def test_a_gpu_that_is_not_there_is_named_with_what_is():
    there = torch.cuda.device_count()
    with pytest.raises(ConfigError) as refused:
        device_of(f"cuda:{there}")
    assert f"sees {there} GPUs, must see at least {there + 1}. Use --device cpu" in str(
        refused.value
    )


def test_too_little_memory_says_how_much_is_needed():
    with pytest.raises(ConfigError, match=r"training a world on cpu: needs 1000000\.00 GB"):
        require_device_memory(torch.device("cpu"), 10**15, "training a world")
    require_device_memory(torch.device("cpu"), 1, "training a world")
