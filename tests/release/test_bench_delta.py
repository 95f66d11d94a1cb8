"""An update by reinforcement learning travels in a twentieth of its weights' bytes."""

import ml_dtypes
import numpy as np
import pytest

from robot_agent.release.bench_delta import DeltaBenchConfig, measure, to_bfloat16
from robot_agent.release.tensors import summarize


def test_rounding_is_that_of_the_number_type(rng):
    values = rng.normal(size=100_000).astype(np.float32) * np.float32(0.02)
    expected = values.astype(ml_dtypes.bfloat16).view(np.uint16)
    assert np.array_equal(to_bfloat16(values), expected)


@pytest.mark.parametrize(("updates", "learning_rate"), [(5, 5e-6), (20, 1e-6)])
def test_a_published_update_takes_a_twentieth_of_the_bytes(tmp_path, updates, learning_rate):
    config = DeltaBenchConfig(size_mb=8, updates=updates, learning_rate=learning_rate)
    found = measure(config, tmp_path)
    assert found["ratio"] >= 20
    assert 0.001 < found["changed_share"] < 0.2
    assert (tmp_path / "rebuilt").read_bytes() == (tmp_path / "new").read_bytes()
    assert len(summarize((tmp_path / "new").read_bytes())) == 4


def test_the_ratio_does_not_depend_on_the_size(tmp_path):
    ratios = []
    for name, size in (("a", 2), ("b", 8)):
        (tmp_path / name).mkdir()
        ratios.append(measure(DeltaBenchConfig(size_mb=size), tmp_path / name)["ratio"])
    assert ratios[0] == pytest.approx(ratios[1], rel=0.01)
