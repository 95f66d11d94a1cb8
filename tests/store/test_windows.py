"""Windows keep actions and frames together, and are drawn in the shares that were asked for."""

import numpy as np
import pytest

from robot_agent.core.errors import InputError
from robot_agent.store.windows import (
    Trajectory,
    WindowSampler,
    WindowSource,
    stack_windows,
    trajectory_from_episode,
    window_starts,
)
from tests.store.episodes import make_episode


def counting(steps: int, offset: int = 0) -> Trajectory:
    """A world whose frame shows how many actions made it; action t says t."""
    count = np.arange(steps + 1) + offset
    frames = np.broadcast_to(count[:, None, None, None], (steps + 1, 4, 4, 3)).astype(np.uint8)
    actions = np.zeros((steps, 7))
    actions[:, 0] = count[:-1]
    proprio = np.repeat(count[:, None], 7, axis=1).astype(float)
    return Trajectory(frames, actions, proprio, f"count from {offset}", f"c{offset}")


def require_aligned(batch) -> None:
    shown = batch.frames[:, :, 0, 0, 0].astype(float)
    assert (shown[:, :-1] == batch.actions[:, :, 0]).all(), "action t was taken from frame t"
    assert (shown[:, 1:] == batch.actions[:, :, 0] + 1).all(), "action t leads to frame t + 1"
    assert (batch.proprio[:, :, 0] == shown).all()


def test_action_t_leads_from_frame_t_to_frame_t_plus_1():
    sampler = WindowSampler([([counting(9), counting(20, 50)], 1.0)], num_actions=4, seed=0)
    batch = sampler.sample(64)
    assert batch.frames.shape == (64, 5, 4, 4, 3)
    assert batch.actions.shape == (64, 4, 7)
    require_aligned(batch)


def test_the_counting_world_catches_a_shift():
    world = counting(9)
    shifted = Trajectory(world.frames, np.roll(world.actions, 1, axis=0), world.proprio)
    with pytest.raises(AssertionError, match="action t was taken"):
        require_aligned(stack_windows([(shifted, 2)], 4))


@pytest.mark.parametrize(
    ("steps", "length", "stride"), [(9, 4, 1), (9, 9, 1), (20, 3, 2), (3, 4, 1)]
)
def test_every_window_is_found_once(steps: int, length: int, stride: int):
    slow = [s for s in range(0, steps, stride) if s + length <= steps]
    assert list(window_starts(counting(steps), length, stride)) == slow


def test_a_source_reaches_every_window_of_every_episode():
    lengths = (5, 2, 7)
    trajectories = [counting(n, 10 * n) for n in lengths]
    source = WindowSource(trajectories, 3)
    found = [(t.name, start) for t, start in map(source.pick, range(len(source)))]
    slow = [(t.name, s) for t in trajectories for s in range(t.num_steps - 3 + 1)]
    assert found == slow


def test_sources_are_mixed_in_their_shares():
    sampler = WindowSampler([([counting(30)], 0.7), ([counting(9, 100)] * 50, 0.3)], 4, seed=1)
    batch = sampler.sample(4000)
    assert abs(np.mean(batch.sources == 0) - 0.7) < 0.03
    assert all(
        t.endswith("100") == bool(s)
        for t, s in zip(batch.instructions, batch.sources, strict=True)
    )
    require_aligned(batch)


def test_the_same_seed_draws_the_same():
    def draw(seed: int):
        return WindowSampler([([counting(30)], 1.0)], 4, seed).sample(16).actions

    assert np.array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))


def test_an_episode_becomes_a_trajectory_of_the_models_size():
    episode = make_episode(steps=5, size=(24, 32))
    trajectory = trajectory_from_episode(episode, (8, 8))
    assert trajectory.frames.shape == (6, 8, 8, 3)
    blocks = episode.images.reshape(6, 8, 3, 8, 4, 3).mean(axis=(2, 4))
    assert np.abs(trajectory.frames - blocks).max() <= 1, "the mean over each area"
    assert np.array_equal(trajectory.proprio[:, :6], episode.joints_rad)
    assert np.array_equal(trajectory.proprio[:, 6], episode.gripper)


def test_what_cannot_be_cut_is_refused():
    with pytest.raises(InputError, match="has 3 actions, must have at least 4"):
        WindowSampler([([counting(3)], 1.0)], 4, seed=0)
    with pytest.raises(InputError, match="must be positive"):
        WindowSampler([([counting(9)], 0.0)], 4, seed=0)
    with pytest.raises(InputError, match=r"expected .*\(9, 7\), got"):
        Trajectory(counting(9).frames, np.zeros((10, 7)))
