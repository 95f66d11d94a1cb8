"""Pairs pictures and joints by stamp, and says when there is nothing fresh to act on."""

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray, ImageArray, Observation

_FROZEN_EDGE_PX = 32
"""A picture is compared on a grid of at least this many points per edge, where it has them."""


@dataclass(frozen=True, kw_only=True)
class PairingConfig:
    """How far apart and how old the parts of an observation may be."""

    max_skew_s: float = 0.05
    """Largest distance of the stamps of picture and joints."""
    max_skewed_s: float = 0.6
    """Three control periods without a picture that has joints near it are a fault."""
    max_future_s: float = 0.1
    """A stamp farther ahead is replaced by the time of arrival."""
    max_replaced: int = 5
    """Stamps replaced in a row before pictures are no longer taken."""
    max_frozen: int = 5
    """Equal pictures in a row, after the joints moved, that make the camera count as frozen."""
    min_motion_rad: float = 0.05
    """Joint motion that must show in a picture."""
    kept_pictures: int = 4
    """Newest pictures that are kept; who looks back, as a recorder does, needs more."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("max_skew_s", self.max_skew_s, 0.001, 0.2, "s")
        require_range("max_skewed_s", self.max_skewed_s, 0.1, 5.0, "s")
        require_range("max_future_s", self.max_future_s, 0.0, 1.0, "s")
        require_range("max_replaced", self.max_replaced, 1, 100)
        require_range("max_frozen", self.max_frozen, 2, 100)
        require_range("kept_pictures", self.kept_pictures, 1, 1000)
        require_range("min_motion_rad", self.min_motion_rad, 0.01, 0.5, "rad")


@dataclass(frozen=True, eq=False)
class _Joints:
    stamp_ns: int
    joints_rad: FloatArray
    gripper: float


class ObservationPairing:
    """The newest pictures and joints. Any thread may add; one thread waits and takes."""

    def __init__(self, config: PairingConfig | None = None) -> None:
        """Begin with nothing seen."""
        self._config = config or PairingConfig()
        self._images: deque[tuple[int, ImageArray]] = deque(maxlen=self._config.kept_pictures)
        self._joints: deque[_Joints] = deque(maxlen=100)
        self._changed = threading.Condition()
        self._health = FrameHealth(self._config)
        self._paired_ns: int | None = None
        self._replaced_in_a_row = 0
        self.dropped = 0
        """Pictures without joints near them in time."""

    @property
    def is_frozen(self) -> bool:
        """Whether the camera shows the same picture while the joints move."""
        return self._health.is_frozen

    def is_skewed(self, now_ns: int) -> bool:
        """Whether pictures and joints come, but for a while none near each other in time."""
        with self._changed:
            has_both = bool(self._images) and bool(self._joints)
            if not has_both or any(self._near(stamp_ns) for stamp_ns, _ in self._images):
                self._paired_ns = now_ns
            paired_ns = self._paired_ns if self._paired_ns is not None else now_ns
            self._paired_ns = paired_ns
            return now_ns - paired_ns > self._config.max_skewed_s * 1e9

    def add_image(self, image_hwc: ImageArray, stamp_ns: int, arrival_ns: int = 0) -> None:
        """Take over a picture; one that is not newer than the last is ignored.

        With `arrival_ns` a stamp from the future is replaced by it; after several in a row the
        pictures are ignored, since nobody knows what they show.
        """
        with self._changed:
            is_ahead = arrival_ns and stamp_ns - arrival_ns > self._config.max_future_s * 1e9
            self._replaced_in_a_row = self._replaced_in_a_row + 1 if is_ahead else 0
            if self._replaced_in_a_row > self._config.max_replaced:
                return
            stamp_ns = arrival_ns if is_ahead else stamp_ns
            if self._images and stamp_ns <= self._images[-1][0]:
                return
            self._images.append((stamp_ns, image_hwc))
            # Not the newest joints: pictures that waited in a queue show where the arm was.
            then = next((j for j in reversed(self._joints) if j.stamp_ns <= stamp_ns), None)
            self._health.look(image_hwc, then.joints_rad if then is not None else None)
            self._changed.notify_all()

    def add_joints(self, joints_rad: FloatArray, gripper: float, stamp_ns: int) -> None:
        """Take over one reading of the joints."""
        with self._changed:
            self._joints.append(_Joints(stamp_ns, joints_rad, gripper))
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget everything, for instance after the world was put back to a start."""
        with self._changed:
            self._images.clear()
            self._joints.clear()
            self._health = FrameHealth(self._config)
            self._paired_ns = None

    def newest_stamp_ns(self) -> int:
        """Return the stamp of the newest picture, 0 when there is none."""
        with self._changed:
            return self._images[-1][0] if self._images else 0

    def newest_joints_ns(self) -> int:
        """Return the stamp of the newest joints, 0 when there are none."""
        with self._changed:
            return self._joints[-1].stamp_ns if self._joints else 0

    def newest(self, now_ns: int, not_before_ns: int = 0) -> Observation | None:
        """Return the newest pair whose picture was taken at `not_before_ns` or later, or None."""
        with self._changed:
            return self._newest(now_ns, not_before_ns)

    def nearest(self, now_ns: int, stamp_ns: int) -> Observation | None:
        """Return the pair whose picture was taken nearest to `stamp_ns`, or None."""
        with self._changed:
            by_distance = sorted(self._images, key=lambda item: abs(item[0] - stamp_ns))
            for image_ns, image_hwc in by_distance:
                pair = self._pair(now_ns, image_ns, image_hwc)
                if pair is not None:
                    return pair
        return None

    def wait(self, timeout_s: float) -> None:
        """Return when something new has come, or after `timeout_s`."""
        with self._changed:
            self._changed.wait(timeout_s)

    def wake(self) -> None:
        """Let who waits look again, though nothing new has come."""
        with self._changed:
            self._changed.notify_all()

    def _newest(self, now_ns: int, not_before_ns: int) -> Observation | None:
        for stamp_ns, image_hwc in reversed(self._images):
            if stamp_ns < not_before_ns:
                return None
            pair = self._pair(now_ns, stamp_ns, image_hwc)
            if pair is not None:
                return pair
            self.dropped += 1
        return None

    def _pair(self, now_ns: int, stamp_ns: int, image_hwc: ImageArray) -> Observation | None:
        near = self._near(stamp_ns)
        if near is None:
            return None
        return Observation(
            image_hwc=image_hwc,
            joints_rad=near.joints_rad,
            gripper=near.gripper,
            stamp_ns=stamp_ns,
            age_s=(now_ns - stamp_ns) * 1e-9,
        )

    def _near(self, stamp_ns: int) -> _Joints | None:
        """Return the joints nearest in time, if they are near enough."""
        near = min(self._joints, key=lambda item: abs(item.stamp_ns - stamp_ns), default=None)
        if near is None or abs(near.stamp_ns - stamp_ns) > self._config.max_skew_s * 1e9:
            return None
        return near


class FrameHealth:
    """Notices a camera that repeats one picture after the arm has moved; one thread."""

    def __init__(self, config: PairingConfig) -> None:
        """Begin with nothing seen."""
        self._config = config
        self._last: ImageArray | None = None
        self._joints_rad: FloatArray | None = None
        self._late = 0
        self.is_frozen = False

    def look(self, image_hwc: ImageArray, joints_rad: FloatArray | None) -> None:
        """Compare a picture with the last one that differed; count repeats since a motion.

        Pictures that repeat while the arm rests are no fault, however many there were, and one
        that was under way when the arm moved is none either.
        """
        row, column = (max(1, edge // _FROZEN_EDGE_PX) for edge in image_hwc.shape[:2])
        small = image_hwc[::row, ::column].copy()  # not a view, which would keep the whole picture
        if self._last is None or not np.array_equal(small, self._last):
            self._last, self._joints_rad, self._late = small, joints_rad, 0
            self.is_frozen = False
            return
        moved_rad = 0.0
        if joints_rad is not None and self._joints_rad is not None:
            moved_rad = float(np.abs(joints_rad - self._joints_rad).max())
        self._late = self._late + 1 if moved_rad > self._config.min_motion_rad else 0
        self.is_frozen = self._late >= self._config.max_frozen
