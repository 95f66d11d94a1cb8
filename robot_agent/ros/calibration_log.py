"""What the topics said while the arm moved, for `calibrate latency`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from robot_agent.calibrate.latency import Recorded
from robot_agent.core.errors import CalibrationError
from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.ros import topics


class LatencyLog:
    """Notes what the topics say; filled by the executor's thread, read after it was taken off."""

    def __init__(self) -> None:
        self.commands: list[tuple[int, FloatArray]] = []
        self.joints: list[tuple[int, FloatArray]] = []
        self.pictures: list[tuple[int, ImageArray]] = []

    def recorded(self) -> Recorded:
        """Return everything as arrays; CalibrationError when a topic was silent."""
        for name, given in (
            (topics.ARM_COMMAND, self.commands),
            (topics.JOINT_STATES, self.joints),
            (topics.CAMERA_IMAGE, self.pictures),
        ):
            if len(given) < 20:
                raise CalibrationError(
                    f"latency: {len(given)} messages on {name}, must be at least 20. Is its node "
                    f"active? Check with: robot-agent doctor"
                )
        first_ns = self.joints[0][0]

        def seconds(entries: Sequence[tuple[int, Any]]) -> FloatArray:
            return np.array([(stamp_ns - first_ns) * 1e-9 for stamp_ns, _ in entries])

        return Recorded(
            commands_rad=np.stack([joints for _, joints in self.commands]),
            commands_s=seconds(self.commands),
            joints_rad=np.stack([joints for _, joints in self.joints]),
            joints_s=seconds(self.joints),
            pictures=[picture for _, picture in self.pictures],
            pictures_s=seconds(self.pictures),
        )
