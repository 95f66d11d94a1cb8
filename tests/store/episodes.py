"""Episodes for the tests of the store: small, random, and different in every number."""

from __future__ import annotations

import numpy as np

from robot_agent.core.types import Episode
from robot_agent.store.episode_writer import RecordingConfig

LOSSLESS = RecordingConfig(image_codec="png", min_free_gb=0.0)


def make_episode(
    episode_id: str = "ep-1",
    steps: int = 3,
    size: tuple[int, int] = (8, 10),
    seed: int = 0,
    *,
    stamps: bool = True,
) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        episode_id=episode_id,
        instruction="put the carrot on the plate",
        images=rng.integers(0, 256, (steps + 1, *size, 3), dtype=np.uint8),
        actions=rng.normal(size=(steps, 7)),
        proposed=rng.normal(size=(steps, 7)),
        joints_rad=rng.normal(size=(steps + 1, 6)),
        gripper=rng.uniform(size=steps + 1),
        weights_versions=tuple(f"v{t}" for t in range(steps)),
        controllers=tuple("policy" if t % 2 else "operator" for t in range(steps)),
        outcome="success",
        judged_by="a person",
        scene="kitchen",
        stamps_ns=10**9 + 7 * np.arange(steps + 1) if stamps else np.zeros(0, np.int64),
    )


def assert_same(ours: Episode, theirs: Episode) -> None:
    for name in ("images", "actions", "proposed", "joints_rad", "gripper", "stamps_ns"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert a.dtype == b.dtype, name
        assert np.array_equal(a, b), name
    plain = ("episode_id", "instruction", "weights_versions", "controllers")
    for name in (*plain, "outcome", "judged_by", "scene"):
        assert getattr(ours, name) == getattr(theirs, name), name
