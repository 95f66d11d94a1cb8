"""`bench windows`: how fast training windows come, decoded each time and from the cache."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core.clock import Stopwatch
from robot_agent.core.types import CONTROL_HZ, Episode
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.episode_writer import RecordingConfig
from robot_agent.store.window_cache import WindowCache
from robot_agent.store.windows import WindowSampler, stack_windows, trajectory_from_episode

_STEPS = 30


def bench_windows(
    num_windows: int = 10_000,
    *,
    episodes: int = 8,
    size_px: tuple[int, int] = (64, 64),
    num_actions: int = 8,
    seed: int = 0,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return `decoded{ms} cached{ms} ratio first_ms memory_mb{begin,middle,end}`, each a window.

    Writes episodes of 640x480 pictures to a store of its own. Decoding each time reads, checks and
    decodes a recording and cuts one window out, as without a cache; it is timed on 20 windows.
    Memory is what only this process holds (RssAnon), after the first, half and all of the windows.
    """
    with tempfile.TemporaryDirectory(prefix="robot_agent_bench_") as folder:
        store = EpisodeStore(Path(folder), RecordingConfig(min_free_gb=0.0))
        say("writing episodes")
        ids = [store.append(_episode(index)).name for index in range(episodes)]
        say("windows decoded each time")
        decoded_ms = _decoded_ms(store, ids, size_px, num_actions, np.random.default_rng(seed))
        cache, watch = WindowCache(store, size_px), Stopwatch()
        trajectories = cache.trajectories()
        first_ms = 1e3 * watch.seconds() / episodes
        say(f"{num_windows} windows from the cache")
        sampler = WindowSampler([(trajectories, 1.0)], num_actions, seed)
        memory_mb, watch = [], Stopwatch()
        for number in range(num_windows):
            sampler.sample(1)
            if number in (0, num_windows // 2, num_windows - 1):
                memory_mb.append(own_memory_mb())
        cached_ms = 1e3 * watch.seconds() / num_windows
        names = ("begin", "middle", "end")
        return {
            "decoded": {"ms": decoded_ms},
            "cached": {"ms": cached_ms, "windows": num_windows},
            "ratio": decoded_ms / cached_ms,
            "first_ms": first_ms,
            "memory_mb": dict(zip(names, memory_mb, strict=True)),
        }


def _decoded_ms(
    store: EpisodeStore,
    ids: list[str],
    size_px: tuple[int, int],
    num_actions: int,
    rng: np.random.Generator,
) -> float:
    count, watch = 20, Stopwatch()
    for _ in range(count):
        one = trajectory_from_episode(store.load(ids[int(rng.integers(len(ids)))]), size_px)
        start = int(rng.integers(one.num_steps - num_actions + 1))
        stack_windows([(one, start)], num_actions)
    return 1e3 * watch.seconds() / count


def own_memory_mb() -> float:
    """Return the memory that only this process holds [MB]; mapped files are not counted."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


def _episode(index: int) -> Episode:
    """Return 30 steps of pictures with shading, edges and grain, so that JPEG has work."""
    rng, steps = np.random.default_rng(index), _STEPS
    rows, columns = np.mgrid[:480, :640]
    images = np.empty((steps + 1, 480, 640, 3), np.uint8)
    for number in range(steps + 1):
        shade = 120 + 60 * np.sin((columns + 9 * number + 31 * index) / 37)
        shade += 40 * ((rows // 48 + (columns + 5 * number) // 48) % 2)
        grain = rng.normal(0.0, 2.5, (480, 640, 3))
        images[number] = np.clip(shade[..., None] + grain, 0, 255).astype(np.uint8)
    return Episode(
        episode_id=f"bench-{index}",
        instruction="open the drawer",
        images=images,
        actions=rng.normal(0.0, 0.01, (steps, 7)),
        proposed=rng.normal(0.0, 0.01, (steps, 7)),
        joints_rad=rng.normal(0.0, 0.1, (steps + 1, 6)),
        gripper=rng.uniform(size=steps + 1),
        weights_versions=("bench",) * steps,
        controllers=("policy",) * steps,
        stamps_ns=np.arange(1, steps + 2) * round(1e9 / CONTROL_HZ),
    )
