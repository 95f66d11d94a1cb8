"""Benchmarks measure what they name, in the keys that are promised."""

import math

import numpy as np
import pytest
import torch

from robot_agent.core.errors import ConfigError
from robot_agent.models import bench, bench_memory, bench_policy, bench_wire, memory, onnx_policy
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig
from robot_agent.models.worldgym import bench as worldgym_bench
from robot_agent.models.worldgym.network import DitConfig


@pytest.fixture
def small(monkeypatch):
    """A policy small enough to be measured in a test, exported once."""
    policy = TinyPolicy(TinyPolicyConfig(bins=8, channels=(8, 8, 8), hidden=16))
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    (model, _) = onnx_policy.export_policy(policy, images, [0, 1])
    monkeypatch.setattr(bench_policy, "_exported", lambda *_: {"fp32": model, "int8": model})
    monkeypatch.setattr(bench_policy, "_random", lambda *_: policy)
    monkeypatch.setattr(bench_policy, "has_fast_bfloat16", lambda: True)
    return policy, images


def measure(small, **settings):
    heard: list[str] = []
    results, notes = bench_policy.bench_policy(
        small[0],
        ("a", "b"),
        small[1],
        bench_policy.PolicyBenchConfig(repeats=5, **settings),
        on_result=heard.append,
    )
    assert heard == list(results)
    return results, notes


def test_every_backend_is_measured_at_every_size_batch_and_number_of_threads(small, monkeypatch):
    told = {}

    def grown_mb(folder, backend, threads, batch):
        name = f"{backend}_{threads}_thread{'s' * (threads > 1)}" + f"_batch_{batch}" * (batch > 1)
        return told.setdefault(name, float(len(told)))

    monkeypatch.setattr(bench_policy, "grown_mb", grown_mb)
    before = torch.get_num_threads()
    results, notes = measure(small, threads=(1, 2), batches=(1, 3), is_compiled=False)
    assert set(results) == {
        f"{size}{runtime}_{threads}{batch}"
        for size in ("", "mid_")
        for runtime in ("torch_fp32", "torch_bf16", "onnx_fp32", "onnx_int8")
        for threads in ("1_thread", "2_threads")
        for batch in ("", "_batch_3")
    }
    for name, values in results.items():
        assert 0.0 < values["p50_ms"] <= values["p99_ms"]
        assert values["memory_mb"] == told[name.removeprefix("mid_")]
    assert notes == ["torch_compiled is left out: --no-compile"]
    assert torch.get_num_threads() == before


def test_a_machine_without_a_compiler_is_told(small, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(bench_policy, "grown_mb", lambda *_: 1.0)
    results, notes = measure(small, threads=(1,), batches=(1,), sizes=("tiny",))
    assert notes == ["torch_compiled is left out: no g++ on the PATH"]
    assert not any("compiled" in name for name in results)


def test_a_processor_that_emulates_bfloat16_is_told(small, monkeypatch):
    monkeypatch.setattr(bench_policy, "has_fast_bfloat16", lambda: False)
    monkeypatch.setattr(bench_policy, "grown_mb", lambda *_: 1.0)
    results, notes = measure(small, threads=(1,), batches=(1,), sizes=("tiny",), is_compiled=False)
    assert len(notes) == 2
    assert notes[1].startswith("torch_bf16 is left out: this processor emulates it")
    assert set(results) == {
        f"{name}_1_thread" for name in ("torch_fp32", "onnx_fp32", "onnx_int8")
    }


@pytest.mark.slow
def test_the_memory_of_a_row_is_what_its_own_process_grows_by(small, tmp_path):
    """A network of ten times the size, and a batch of sixty-four, must show."""
    policy, images = small
    (model, _) = onnx_policy.export_policy(policy, images, [0, 1])
    sizes = {"small": policy, "large": TinyPolicy(TinyPolicyConfig(hidden=8000))}
    grown = {}
    for name, network in sizes.items():
        (tmp_path / name).mkdir()
        bench_memory.keep(tmp_path / name, network, {"fp32": model, "int8": model})
        grown[name] = bench_memory.grown_mb(tmp_path / name, "torch_fp32", 1, 1)
    numbers_mb = sum(p.numel() for p in sizes["large"].parameters()) * 4 / 2**20
    assert numbers_mb < grown["large"] - grown["small"] < 3 * numbers_mb
    assert bench_memory.grown_mb(tmp_path / "small", "torch_fp32", 1, 64) > grown["small"]
    assert bench_memory.grown_mb(tmp_path / "small", "onnx_fp32", 1, 1) < 100.0
    with pytest.raises(ConfigError, match="memory of none: its process ended with status 1"):
        bench_memory.grown_mb(tmp_path / "small", "none", 1, 1)


def test_the_nodes_overhead_is_that_of_the_medians():
    found = bench.compare([11.0, 11.0, 50.0], [10.0, 10.0, 9.0])
    assert found["overhead_percent"] == pytest.approx(10.0)
    assert (found["node"]["p50_ms"], found["bare"]["p50_ms"], found["chunks"]) == (11.0, 10.0, 3)


def test_the_wire_is_measured_and_an_absent_peer_is_told(tmp_path):
    found = bench_wire.bench_wire(None, 25)
    assert 0.0 < found["p50_ms"] <= found["p99_ms"]
    assert "name a checkout of it with --peer" in found["absent"]
    with pytest.raises(ConfigError, match="must be a checkout of openpi"):
        bench_wire.bench_wire(tmp_path, 25)


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


@pytest.fixture(scope="module")
def side_by_side():
    config = worldgym_bench.DitBenchConfig(
        frames=2, context=4, batches=(1, 2), contexts=(3, 5), steps=(1, 2), precision="float32"
    )
    heard: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        size = DitConfig(channels=8, latent_px=4, embedding=16, depth=1, heads=2, window=8)
        patch.setattr(worldgym_bench, "SIZES", {"tiny": size})
        results = worldgym_bench.bench_dit(config, on_result=heard.append)
    assert len(heard) == config.measurements
    return results


def test_both_samplers_are_measured_side_by_side_with_growth(side_by_side):
    for name in ("published", "ours"):
        assert side_by_side[name]["fps"] > 0.0
        for stage in ("denoise", "decode"):
            taken = side_by_side[name]["stages"][stage]
            assert taken["ms_per_frame"] > 0.0
            assert taken["peak_memory_mb"] > 50.0
    ratio = side_by_side["ours"]["fps"] / side_by_side["published"]["fps"]
    assert side_by_side["ratio"] == pytest.approx(ratio)
    assert set(side_by_side["by_batch"]) == set(side_by_side["by_steps"]) == {"1", "2"}
    assert set(side_by_side["by_context"]) == {"3", "5"}


def test_the_samplers_ask_the_network_for_what_was_published_and_for_less(side_by_side):
    """Two frames after four: per frame 2 calls of five frames and 18 of one; ours is one call."""
    calls = {
        name: {frames: entry["calls"] for frames, entry in side_by_side[name]["calls"].items()}
        for name in ("published", "ours")
    }
    assert calls["published"] == {"1 frames": 36, "5 frames": 4}
    assert calls["ours"] == {"4 frames": 1}


def test_a_full_size_without_memory_is_refused_before_it_starts(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000_000)
    with pytest.raises(ConfigError, match=r"model full: needs \d+\.\d\d GB of memory, 1.00 GB"):
        worldgym_bench.bench_dit(worldgym_bench.DitBenchConfig(size="full"))


def test_the_memory_told_beforehand_covers_the_weights_twice_over_no_more():
    size = worldgym_bench.SIZES["full"]
    half, full = (worldgym_bench.needed_bytes(size, p, 1) for p in ("bfloat16", "float32"))
    assert 1.2e9 < half < full
    assert 2.4e9 < full < 7e9
    assert worldgym_bench.needed_bytes(size, "float32", 8) > full + 7 * 0.6e9
