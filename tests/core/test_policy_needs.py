"""Each difference between what weights need and what the robot has is named."""

import pytest

from robot_agent.core.errors import InputError
from robot_agent.core.policy_needs import PolicyNeeds, RobotOffer, differences, require_fit
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_vla import TinyVla


def test_the_shipped_policy_fits_the_robot():
    vla = TinyVla(TinyPolicy(), ("a", "b"), version="v")
    assert differences(vla.needs, RobotOffer()) == ()
    require_fit(vla.needs, RobotOffer(), "v")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"cameras": ("color", "wrist")}, "camera: the policy needs 'wrist', the robot has color"),
        ({"image_hw_px": (256, 256)}, "the policy needs (256, 256), it is (480, 640)"),
        ({"min_image_px": 481}, "sides of 481 or more, it is (480, 640)"),
        ({"history": 2}, "observations of history: the policy needs 2, the robot has 1"),
        ({"state": "joints"}, "state: the policy needs joints, the robot has bridge_state"),
        ({"statistics": "fractal"}, "statistics: the policy needs fractal, the robot has bridge"),
        ({"control_hz": 10.0}, "control rate [Hz]: the policy needs 10.0, the robot has 5.0"),
        ({"action_space": "joints-1"}, "action space: the policy needs joints-1"),
        ({"chunk": 50}, "actions of a chunk: the policy needs 50, the robot has 20"),
    ],
)
def test_one_difference_is_one_line(changes, told):
    found = differences(PolicyNeeds(**changes), RobotOffer())
    assert len(found) == 1
    assert told in found[0]


def test_all_differences_are_named_at_once():
    needs = PolicyNeeds(cameras=("wrist",), history=3, control_hz=3.0, statistics="other")
    with pytest.raises(InputError) as refused:
        require_fit(needs, RobotOffer(), "v0002")
    assert str(refused.value).count("the policy needs") == 4
    assert "v0002" in str(refused.value)
