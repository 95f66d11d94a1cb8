"""World models learn: a toy world is predicted better than by repeating its last frame."""

import dataclasses

import numpy as np
import pytest
import torch

from robot_agent.learn.data import draw_windows
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.scene_world import SceneWorldConfig, finetune_members
from robot_agent.learn.world_training import (
    WorldTrainingConfig,
    held_out_errors,
    psnr,
    train_world,
    unrolled_loss,
)
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig
from tests.learn.episodes import moving_dot

SMALL = TinyWorldConfig(channels=(16, 24, 32), condition=32)
TOY = WorldTrainingConfig(
    fit=FitConfig(steps=120, learning_rate=4e-3, warmup_steps=5),
    frames=24,
    unroll=(1, 2),
    stages=(0.6, 1.0),
)


def small_world(seed=0):
    torch.manual_seed(seed)
    return TinyWorld(SMALL)


@pytest.fixture(scope="module")
def trained():
    world = small_world()
    train_world(world, moving_dot(), TOY, seed=0)
    return world


@pytest.mark.slow
def test_a_moving_dot_is_predicted_better_than_by_repeating_the_last_frame(trained):
    errors = held_out_errors(trained, moving_dot(12, seed=9), 1, horizons=(1, 2), batch=32)
    for horizon in ("1", "2"):
        assert errors["ours"][horizon] > errors["repeat_last"][horizon] + 1.0, errors


@pytest.mark.slow
def test_the_trained_world_listens_to_its_actions(trained):
    held, options = moving_dot(12, seed=9), {"horizons": (2,), "batch": 32}
    true = held_out_errors(trained, held, 1, **options)["ours"]["2"]
    shuffled = held_out_errors(trained, held, 1, shuffle_actions=True, **options)["ours"]["2"]
    assert true > shuffled + 1.0


def test_an_untrained_world_is_not_trusted():
    config = SceneWorldConfig(
        training=dataclasses.replace(
            TOY, fit=FitConfig(steps=1, learning_rate=1e-8), unroll=(1,), stages=(1.0,)
        ),
        held_out=2,
        horizon=2,
    )
    member = small_world()
    before = {name: value.clone() for name, value in member.state_dict().items()}
    said = []
    tuned, trust = finetune_members(
        [member], moving_dot(4), moving_dot(4), config, 0, report=lambda *w: said.append(w)
    )
    assert trust.verdict == "refuse"
    assert "member 0: " in trust.reason
    assert "ignored actions: commands change no picture" in trust.reason
    assert tuned[0] is not member
    assert all(torch.equal(value, before[name]) for name, value in member.state_dict().items())


def test_the_loss_feeds_each_step_its_own_action():
    class Recording(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fed = []

        def forward(self, image, first, state, action, previous):
            self.fed.append((previous[:, 0], action[:, 0]))
            return image, state

    window = draw_windows(moving_dot(2), 3, 3, np.random.default_rng(0))
    world = Recording()
    unrolled_loss(world, window, TOY)
    for t, (previous, action) in enumerate(world.fed):
        assert torch.equal(action, window.actions_BTA[:, t + 1, 0])
        assert torch.equal(previous, window.actions_BTA[:, t, 0])


def test_a_perfect_prediction_costs_nothing():
    class Still(torch.nn.Module):
        def forward(self, image, first, state, action, previous):
            return image, state

    still = moving_dot(2)
    still.images_NTHWC[:] = still.images_NTHWC[:, :1]
    still.states_NTP[:] = still.states_NTP[:, :1]
    loss, _ = unrolled_loss(Still(), draw_windows(still, 4, 3, np.random.default_rng(0)), TOY)
    assert float(loss) == 0.0


def test_psnr_is_the_textbooks():
    image = torch.zeros(1, 3, 4, 4)
    assert psnr(image, image + 0.1) == pytest.approx(20.0, abs=1e-4)


def test_stages_and_unrolls_must_pair():
    with pytest.raises(ValueError, match="unroll has 1 stages, stages 2"):
        WorldTrainingConfig(unroll=(1,), stages=(0.5, 1.0))
