"""Whose pictures the policy sees, and of which size."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from robot_agent.act.observation import ObservationPairing
from robot_agent.core.errors import InputError
from robot_agent.core.policy_needs import PolicyNeeds, differences
from robot_agent.ros import convert
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.picture_source import PictureSource


class House:
    """A node that publishers are seen from."""

    def __init__(self, *publishers: str) -> None:
        self.publishers, self.hear = publishers, None

    def create_subscription(self, kind: Any, topic: str, callback: Any, qos: Any) -> None:
        self.hear = callback

    def resolve_topic_name(self, name: str) -> str:
        return f"/wx250s/{name}"

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        assert topic == "/wx250s/camera/color/image_raw"
        return [SimpleNamespace(node_name=n, node_namespace="/wx250s") for n in self.publishers]


def source(*publishers: str, is_simulated: bool = False) -> tuple[PictureSource, House]:
    house = House(*publishers)
    made = PictureSource(house, ObservationPairing(), ScaledClock(), is_simulated=is_simulated)
    return made, house


@pytest.mark.parametrize("publishers", [("camera", "usb_cam"), ("realsense2_camera",)])
def test_on_a_real_arm_only_the_node_that_compares_colours_may_publish(
    publishers: tuple[str, ...],
) -> None:
    with pytest.raises(InputError, match="nobody compares with the calibrated view") as refused:
        source(*publishers)[0].require_checked()
    assert f"/wx250s/{publishers[-1]} publishes" in str(refused.value)
    source("camera")[0].require_checked()
    source("sim_world", is_simulated=True)[0].require_checked()


def test_the_size_that_is_held_against_the_weights_is_that_of_what_comes() -> None:
    made, house = source("camera")
    needs = PolicyNeeds(min_image_px=224)
    assert differences(needs, made.offer()) == (), "before the first picture, the robot's own"
    house.hear(convert.to_image(np.zeros((120, 160, 3), np.uint8), 1))
    (told,) = differences(needs, made.offer())
    assert "needs sides of 224 or more, it is (120, 160)" in told
