"""The tiny world model composes: what its masks keep does not drift."""

import numpy as np
import torch

from robot_agent.models.scaling import scale_states
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_world import TinyWorld
from tests.contracts.worlds import observations


def keeping_world():
    """A network whose masks take the present picture everywhere and whose state stands still."""
    world = TinyWorld()
    with torch.no_grad():
        world.head.weight.zero_()
        world.head.bias.zero_()
        world.head.bias[:16] = 40.0
        world.state_head[2].weight.zero_()
        world.state_head[2].bias.zero_()
    return world


def test_a_scene_that_the_masks_keep_stands_still():
    imagination = TinyImagination(keeping_world())
    first = imagination.reset(observations(2))
    for _ in range(20):
        frames = imagination.step(np.full((2, 7), 0.03))
    assert np.abs(frames.astype(int) - first.astype(int)).max() <= 1


def test_the_imagined_tool_begins_where_the_joints_say():
    from robot_agent.core import wx250s

    imagination = TinyImagination(keeping_world())
    seen = observations(3)
    imagination.reset(seen)
    wanted = [wx250s.forward(o.joints_rad)[:3, 3] for o in seen]
    assert np.abs(imagination.tool_states[:, :3] - np.stack(wanted)).max() < 1e-5


def test_large_pictures_are_squashed_on_entry():
    frames = TinyImagination(keeping_world()).reset(observations(1, size=(480, 640)))
    assert frames.shape == (1, 64, 64, 3)


def test_scaled_states_return_unchanged():
    from robot_agent.models.scaling import unscale_states

    states = np.random.default_rng(0).normal(0, 0.3, (4, 7))
    assert np.abs(unscale_states(scale_states(states)) - states).max() < 1e-6
