"""The physics that plays the real robot differs where it says, and the trainer's does not."""

from dataclasses import replace

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.core.errors import InputError
from robot_agent.sim.lens import expose
from robot_agent.sim.physics import REAL, TRAINER, Physics, physics_named
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import HOME
from robot_agent.sim.world import TICK_S, SimWorld


def worlds():
    return SimWorld(HOME, 4), SimWorld(HOME, 4, REAL)


def test_a_scene_names_its_physics_and_an_argument_stands_in():
    assert SimWorld(HOME).physics is TRAINER
    assert SimWorld(replace(HOME, physics="real")).physics is REAL
    assert SimWorld(replace(HOME, physics="real"), 0, TRAINER).physics is TRAINER
    with pytest.raises(InputError, match="physics 'moon' is unknown"):
        physics_named("moon")


def test_the_trainers_pictures_pass_no_lens():
    assert not TRAINER.has_lens
    assert REAL.has_lens


def test_encoders_are_wrong_within_the_arms_accuracy():
    apart_m = []
    for seed in range(20):
        world = SimWorld(HOME, seed, REAL)
        believed = wx250s.forward(world.joints_rad)[:3, 3]
        apart_m.append(np.linalg.norm(believed - world.tool_m))
    assert np.mean(apart_m) > 0.003
    assert max(apart_m) < 0.008
    trainer = SimWorld(HOME, 0)
    assert np.allclose(wx250s.forward(trainer.joints_rad)[:3, 3], trainer.tool_m, atol=1e-9)


def test_a_command_takes_effect_late():
    def first_motion(world):
        start = world.joints_rad
        goal = start + np.array([0.2, 0.0, 0.0, 0.0, 0.0, 0.0])
        for tick in range(20):
            world.tick(goal, 0.0)
            if world.joints_rad[0] - start[0] > 2e-4:
                return tick
        raise AssertionError("no motion")

    trainer, real = worlds()
    assert first_motion(real) >= first_motion(trainer) + 2


def test_an_arm_told_to_stay_sags_only_a_little():
    _, real = worlds()
    start = real.joints_rad
    for _ in range(50):
        real.tick(start, 0.0)
    assert 1e-4 < np.abs(real.joints_rad - start).max() < 0.02


def test_both_run_in_the_same_ticks():
    for world in worlds():
        for _ in range(5):
            world.tick(world.joints_rad, 0.0)
        assert world._data.time == pytest.approx(5 * TICK_S)


def test_the_same_seed_gives_the_same_states_and_pictures():
    found = []
    for _ in range(2):
        robot = SimRobot(replace(HOME, physics="real"))
        robot.reset(9)
        for _ in range(4):
            robot.execute(np.array([0.02, 0.0, -0.02, 0.0, 0.0, 0.0, 0.0]))
        found.append((robot.world.joints_rad, robot.world.render(160, 120)))
        robot.world.close()
    assert np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


def test_pictures_of_both_show_the_same_place_differently():
    pictures = []
    for world in worlds():
        pictures.append(world.render(160, 120).astype(float))
        world.close()
    apart = np.abs(pictures[0] - pictures[1]).mean()
    assert 8.0 < apart < 70.0
    greys = [picture.mean(axis=2).ravel() for picture in pictures]
    assert np.corrcoef(*greys)[0, 1] > 0.6


def test_the_lens_exposes_blurs_and_adds_noise_of_the_stated_size():
    grey = np.full((480, 640, 3), 128, np.uint8)
    noisy = expose(grey, Physics(name="noise", noise=5.0), (1, 2))
    assert noisy.std() == pytest.approx(5.0, rel=0.03)
    assert abs(noisy.mean() - 128.0) < 0.1
    assert np.array_equal(noisy, expose(grey, Physics(name="noise", noise=5.0), (1, 2)))
    assert not np.array_equal(noisy, expose(grey, Physics(name="noise", noise=5.0), (1, 3)))
    small = expose(grey[:120, :160], Physics(name="noise", noise=5.0), (1, 2))
    assert small.std() == pytest.approx(1.25, rel=0.1)
    darker = expose(
        grey, Physics(name="dark", exposure=0.5, white_balance=(1.0, 1.0, 0.5)), (0, 0)
    )
    assert darker[0, 0].tolist() == [64, 64, 32]
    edge = grey.copy()
    edge[:, 320:] = 228
    blurred = expose(edge, Physics(name="blur", blur_px=2.0), (0, 0))[240, :, 0].astype(int)
    assert 128 < blurred[318] < 178 < blurred[321] < 228
    assert blurred[300] == 128


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"timestep_s": 0.01}, r"timestep_s=0.01 is outside \[0.0005, 0.005\] s"),
        ({"delay_ticks": -1}, r"delay_ticks=-1 is outside \[0, 10\] ticks"),
        ({"noise": float("nan")}, r"noise=nan is outside \[0.0, 50.0\] grey levels"),
    ],
)
def test_wrong_physics_is_refused(wrong, told):
    with pytest.raises(ValueError, match=told):
        Physics(name="x", **wrong)
