"""The simulated camera: renders in its own thread, so that physics keeps its time."""

import threading
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, Image

from robot_agent.core.types import FloatArray
from robot_agent.ros import convert, realtime, topics
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.sim_faults import Faults
from robot_agent.ros.ticker import Ticker
from robot_agent.sim import mjcf, snapshot
from robot_agent.sim.scenes import Scene
from robot_agent.sim.world import SimWorld


@dataclass(frozen=True, eq=False)
class Moment:
    """The state of the world at one tick, enough to draw it."""

    scene: Scene
    seed: int
    qpos: FloatArray = field(repr=False)
    stamp_ns: int
    step: int


class SimCamera:
    """Publishes pictures of the newest `Moment` at a fixed rate.

    It draws a second world of its own: MuJoCo's data and the GL context are used by one thread
    each. Owner: the camera's thread; `show` may be called from the physics thread.
    """

    def __init__(
        self, node: Any, clock: ScaledClock, size_px: tuple[int, int], hz: float, faults: Faults
    ) -> None:
        """Make publishers on `node` for pictures of `size_px` (width, height) at `hz`."""
        self._clock, self._size_px, self._faults = clock, size_px, faults
        self._log = node.get_logger()
        self._images = node.create_publisher(Image, topics.CAMERA_IMAGE, topics.SENSOR)
        self._info = node.create_publisher(CameraInfo, topics.CAMERA_INFO, topics.SENSOR)
        self._K = _intrinsics(*size_px)
        self._moment: Moment | None = None
        self._lock = threading.Lock()
        self._world: SimWorld | None = None
        self._drawn: tuple[Scene, int] | None = None
        shape = (size_px[1], size_px[0], 3)
        self._grain = np.random.default_rng(0).integers(0, 2, shape, dtype=np.uint8)
        self._sent_ns = 0
        self.frames = 0
        self._ticker = Ticker(
            clock,
            round(1e9 / hz),
            self._publish,
            on_error=self._report,
            name="sim_camera",
            nice=realtime.ORDINARY_NICE,
        )

    def show(self, moment: Moment) -> None:
        """Take over the newest state of the world."""
        with self._lock:
            self._moment = moment

    def start(self) -> None:
        """Start publishing."""
        self._ticker.start()

    def stop(self) -> None:
        """Stop publishing."""
        self._ticker.stop()

    def _report(self, error: BaseException) -> None:
        self._log.error(f"simulated camera: {error}", throttle_duration_sec=5.0)

    def _publish(self, due_ns: int, late_ns: int) -> None:
        del due_ns, late_ns
        with self._lock:
            moment = self._moment
        if moment is None:
            return
        fault = self._faults.active("camera", moment.step)
        if fault.kind == "slow" and moment.stamp_ns - self._sent_ns < fault.argument * 1e9:
            return
        picture = self._faults.image(self._draw(moment), moment.step)
        if picture is None:
            return
        self._sent_ns = moment.stamp_ns
        self._images.publish(convert.to_image(picture, moment.stamp_ns))
        self._info.publish(convert.to_camera_info(*self._size_px, self._K, moment.stamp_ns))
        self.frames += 1

    def _draw(self, moment: Moment) -> Any:
        if self._drawn != (moment.scene, moment.seed):
            if self._world is None or self._world.scene != moment.scene:
                if self._world is not None:
                    self._world.close()
                self._world = SimWorld(moment.scene, moment.seed)
            self._world.reset(moment.seed)
            self._drawn = (moment.scene, moment.seed)
        assert self._world is not None
        snapshot.show(self._world, moment.qpos)
        self._world.ticks = moment.step  # the sensor's noise follows from seed and tick
        picture = self._world.render(*self._size_px)
        # No sensor shows the same picture twice. Without grain a camera that sees nothing move,
        # because the arm is out of its view, would pass for a frozen one.
        return cv2.add(picture, np.roll(self._grain, moment.step % len(self._grain), axis=0))


def _intrinsics(width: int, height: int) -> FloatArray:
    """Return K (3, 3) [px] of the Bridge camera at another picture size."""
    x = width / mjcf.CAMERA_SIZE_PX[0]
    y = height / mjcf.CAMERA_SIZE_PX[1]
    f, (cx, cy) = mjcf.CAMERA_FOCAL_PX, mjcf.CAMERA_CENTER_PX
    return np.array([[f * x, 0.0, cx * x], [0.0, f * y, cy * y], [0.0, 0.0, 1.0]])
