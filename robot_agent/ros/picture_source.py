"""The pictures that the policy sees: of which size, and from whom."""

from typing import Any

from sensor_msgs.msg import Image

from robot_agent.act.observation import ObservationPairing
from robot_agent.core.errors import InputError
from robot_agent.core.policy_needs import COLOR_CAMERA, RobotOffer
from robot_agent.ros import convert, topics
from robot_agent.ros.clock import ScaledClock

_CAMERA = "camera"
"""The node that compares pictures with the calibrated view before it hands them on."""


class PictureSource:
    """Takes every picture to the pairing, and knows whether the policy may rely on them.

    Whether red and blue are exchanged shows only against a picture of the same view, and only the
    camera's node has one. So on a real arm nothing but that node may publish pictures: what comes
    by another way was compared with nothing. The node's executor calls the callbacks.
    """

    def __init__(
        self, node: Any, pairing: ObservationPairing, clock: ScaledClock, *, is_simulated: bool
    ) -> None:
        """Listen on `node`."""
        self._node, self._pairing, self._clock = node, pairing, clock
        self._is_simulated = is_simulated
        self._size_px: tuple[int, int] | None = None
        node.create_subscription(Image, topics.CAMERA_IMAGE, self._on_image, topics.SENSOR)

    def offer(self) -> RobotOffer:
        """Return what the robot provides, with the size of the pictures that really come."""
        if self._size_px is None:
            return RobotOffer()
        return RobotOffer(cameras={COLOR_CAMERA: self._size_px})

    def require_checked(self) -> None:
        """Raise InputError when somebody else than the camera's node shows a real arm pictures."""
        if self._is_simulated:
            return
        topic = self._node.resolve_topic_name(topics.CAMERA_IMAGE)
        others = sorted(
            f"{info.node_namespace}/{info.node_name}".replace("//", "/")
            for info in self._node.get_publishers_info_by_topic(topic)
            if info.node_name != _CAMERA
        )
        if others:
            raise InputError(
                f"{topic}: {', '.join(others)} publishes pictures that nobody compares with the "
                f"calibrated view, must be the node '{_CAMERA}' alone. Give them to it: "
                f"camera:=topic camera_topic:=NAME."
            )

    def _on_image(self, message: Any) -> None:
        try:
            stamp_ns = convert.from_stamp(message.header.stamp)
            image_hwc = convert.from_image(message)
            self._pairing.add_image(image_hwc, stamp_ns, self._clock.now_ns())
            self._size_px = (int(image_hwc.shape[0]), int(image_hwc.shape[1]))
        except InputError as error:
            self._node.get_logger().error(str(error), throttle_duration_sec=1.0)
