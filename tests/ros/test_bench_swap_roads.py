"""The two roads for weights that `bench swap` compares, without a loop."""

from pathlib import Path

import numpy as np
import pytest

from robot_agent.core.errors import BundleRejectedError
from robot_agent.ros.bench_swap_loader import Loader, make_bundles, tagged_tensors
from robot_agent.ros.bench_swap_stream import Stream, load_in_place


@pytest.mark.slow
def test_a_loaded_bundle_is_checked_and_leaves_the_one_in_use_alone(tmp_path: Path, memory: Path):
    first, second = make_bundles(tmp_path, (1, 2), 0.2)
    loader = Loader(memory, tmp_path, 0.2)
    try:
        active, other = loader.load(first), loader.load(second)
        damaged = bytearray((first / "policy.safetensors").read_bytes())
        damaged[-1] ^= 1
        (first / "policy.safetensors").write_bytes(damaged)
        with pytest.raises(BundleRejectedError, match="sha256"):
            loader.load(first)
        third = loader.load(second)
    finally:
        loader.close()
    assert [float(t.min()) for t in active] == [float(t.max()) for t in active] == [1.0] * 7
    assert all((t == 2.0).all() for t in [*other, *third])


@pytest.mark.slow
def test_a_streamed_state_replaces_the_one_in_use():
    stream = Stream(5.0)  # three chunks
    try:
        tensors = list(tagged_tensors(1, 5.0).values())
        load_in_place(stream.fetch(2), tensors)
        assert all((tensor == 2.0).all() for tensor in tensors)
        load_in_place(stream.fetch(1), tensors)
    finally:
        stream.close()
    assert np.concatenate(tensors).max() == 1.0
