"""Cosmos 3 through diffusers: a tiny pipeline with random weights behaves as a world model."""

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.core.bridge_action import compose_target
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.models.cosmos import CosmosConfig, CosmosImagination, load_cosmos
from robot_agent.models.cosmos_actions import Q01, Q99, cosmos_actions, tool_of
from tests.contracts.worlds import observations
from tests.models.tiny_cosmos import tiny_cosmos

CONFIG = CosmosConfig(picture_px=64, chunk=4, steps=1)


def unscaled(told):
    return (told.astype(float) + 1.0) / 2.0 * (Q99 - Q01) + Q01


def some_actions(steps, batch=1, seed=0):
    actions = np.random.default_rng(seed).uniform(-0.03, 0.03, (steps, batch, 7))
    actions[..., 6] = 1.0
    return actions


def test_rest_is_no_motion_in_the_units_of_the_model():
    rest = np.array([[0, 0, 0, 0, 0, 0, 1.0]])
    told, after = cosmos_actions(tool_of(observations(1)[0]), rest)
    assert np.allclose(unscaled(told), [[0, 0, 0, 1, 0, 0, 0, 1, 0, 1]], atol=1e-6)
    assert np.allclose(after, tool_of(observations(1)[0]))


def test_the_hand_of_a_tool_that_points_down_moves_down_along_its_z():
    down = wx250s.pose_at(np.array([0.3, 0.0, 0.2]))
    told, after = cosmos_actions(down, np.array([[0.0, 0.0, -0.01, 0, 0, 0, 0.0]]))
    assert np.allclose(unscaled(told)[0, :3], [0, 0, 0.01], atol=1e-6)
    assert unscaled(told)[0, 9] == pytest.approx(0.0, abs=1e-6)
    assert after[2, 3] == pytest.approx(0.19)


def test_the_deltas_of_a_chunk_lead_where_bridge_actions_lead():
    start = tool_of(observations(1)[0])
    actions = some_actions(5)[:, 0]
    told, after = cosmos_actions(start, actions)
    wanted = start
    for action in actions:
        wanted = compose_target(wanted, wanted[:3, 3], action)
    assert np.allclose(after, wanted)
    hand = np.eye(4)
    hand[:3, :3], hand[:3, 3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [-0.093575, 0, 0]
    reached = start @ hand
    for row in unscaled(told):
        x, y = row[3:6], row[6:9]
        delta = np.eye(4)
        delta[:3, :3], delta[:3, 3] = np.stack([x, y, np.cross(x, y)], axis=1), row[:3]
        reached = reached @ delta
    assert np.allclose(reached, wanted @ hand, atol=1e-5)


def test_a_chunk_at_once_ends_where_single_steps_end():
    actions = some_actions(4)
    once, singly = (CosmosImagination(tiny_cosmos(), CONFIG) for _ in range(2))
    for world in (once, singly):
        world.reset(observations(1))
    whole = once.step_chunk(actions.swapaxes(0, 1))
    assert whole.shape == (1, 4, 64, 64, 3)
    last = [singly.step(row) for row in actions][-1]
    assert np.array_equal(whole[:, -1], last)


def test_the_next_chunk_begins_with_the_last_picture_of_the_one_before():
    world = CosmosImagination(tiny_cosmos(), CONFIG)
    world.reset(observations(1))
    seen = []
    draw = world._pipeline.__class__.__call__

    def spy(self, *words, **named):
        seen.append(named["action"])
        return draw(self, *words, **named)

    class Spied(world._pipeline.__class__):
        __call__ = spy

    world._pipeline.__class__ = Spied
    frames = world.step_chunk(some_actions(6).swapaxes(0, 1))
    assert len(seen) == 2
    assert np.allclose(seen[1].image * 255.0, frames[0, 3], atol=1e-3)
    assert frames.shape == (1, 6, 64, 64, 3)


def test_other_pictures_than_those_asked_for_are_refused():
    world = CosmosImagination(tiny_cosmos(), CosmosConfig(picture_px=60, chunk=4, steps=1))
    world.reset(observations(1))
    with pytest.raises(InputError, match=r"imagined pictures: .* must be \(4, 60, 60, 3\)"):
        world.step(some_actions(1)[0])


def test_a_saved_pipeline_is_loaded_and_others_are_named(tmp_path):
    tiny_cosmos().save_pretrained(tmp_path / "whole")
    loaded = load_cosmos(tmp_path / "whole", CONFIG)
    direct = CosmosImagination(tiny_cosmos(), CONFIG)
    frames = []
    for world in (loaded, direct):
        world.reset(observations(1))
        frames.append(world.step(some_actions(1)[0]))
    assert np.array_equal(*frames)
    with pytest.raises(ConfigError, match=r"no model_index\.json.*Download one"):
        load_cosmos(tmp_path / "nothing")
    tiny_cosmos(action_gen=False).save_pretrained(tmp_path / "deaf")
    with pytest.raises(ConfigError, match="trained without actions"):
        load_cosmos(tmp_path / "deaf")
    cut = tmp_path / "whole" / "transformer" / "diffusion_pytorch_model.safetensors"
    cut.write_bytes(cut.read_bytes()[:100])
    with pytest.raises(ConfigError, match="no readable pipeline"):
        load_cosmos(tmp_path / "whole")


def test_chunks_that_are_no_whole_latents_are_refused():
    with pytest.raises(ValueError, match="chunk=6 is not a multiple of 4"):
        CosmosConfig(chunk=6)
