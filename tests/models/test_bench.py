"""Benchmarks measure what they name, in the keys that are promised."""

import math

import numpy as np
import pytest
import torch

from robot_agent.models import bench, onnx_policy
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig


def test_every_backend_is_measured_at_every_number_of_threads(monkeypatch):
    policy = TinyPolicy(TinyPolicyConfig(bins=8, channels=(8, 8, 8), hidden=16))
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    (model, _) = onnx_policy.export_policy(policy, images, [0, 1])
    monkeypatch.setattr(bench, "_exported", lambda *_: {"fp32": model, "int8": model})
    heard: list[str] = []
    before = torch.get_num_threads()
    backends = bench.bench_policy(
        policy, ("a", "b"), images, repeats=5, threads=(1, 2), on_result=heard.append
    )
    names = {
        f"{runtime}_{threads}"
        for runtime in ("torch_fp32", "torch_bf16", "onnx_fp32", "onnx_int8")
        for threads in ("1_thread", "2_threads")
    }
    assert set(backends) == set(heard) == names
    for values in backends.values():
        assert 0.0 < values["p50_ms"] <= values["p99_ms"]
        assert values["network_p50_ms"] > 0.0
    assert torch.get_num_threads() == before


def test_latency_is_the_time_of_the_call():
    slow, fast = (bench.latency(lambda n=n: sum(range(n)), 9) for n in (200_000, 2_000))
    assert slow["p50_ms"] > 10 * fast["p50_ms"]


def test_imagination_is_measured_for_every_batch_and_length():
    world = TinyWorld(TinyWorldConfig(channels=(8, 8, 8), condition=8))
    results = bench.bench_imagination(world, batches=(1, 4), steps=(4, 2))
    assert set(results["by_batch"]) == {"1", "4"}
    for entry in results["by_batch"].values():
        assert set(entry["by_steps"]) == {"2", "4"}
        assert entry["fps"] == entry["by_steps"]["4"]
    assert results["ours"]["fps"] == max(e["fps"] for e in results["by_batch"].values())
    assert results["peak_memory_mb"] > 50
    assert all(math.isfinite(e["fps"]) and e["fps"] > 0 for e in results["by_batch"].values())


@pytest.mark.parametrize("batch", [1, 3])
def test_frames_are_counted_by_rollout_and_step(batch, monkeypatch):
    made = []

    class CountingImagination:
        def reset(self, starts):
            made.clear()
            self._batch = len(starts)

        def step(self, actions):
            assert actions.shape == (self._batch, 7)
            made.append(self._batch)

    seconds = iter([2.0])
    monkeypatch.setattr(bench, "timed", _clock(seconds))
    fps = bench._rollout_fps(CountingImagination(), batch, 6, np.random.default_rng(0))
    assert sum(made) == 6 * batch
    assert fps == pytest.approx(6 * batch / 2.0)


def _clock(seconds):
    from contextlib import contextmanager

    @contextmanager
    def timed(into):
        yield
        into.append(next(seconds))

    return timed
