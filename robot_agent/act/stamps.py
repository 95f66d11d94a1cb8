"""Maps a camera's own clock, whatever it counts, to the monotonic one; sees when it jumps."""

from collections import deque

_OFFSETS = 300
"""Frames over which the fastest one fixes the offset of the camera's clock: 10 s at 30 Hz."""
_MAX_JUMP_NS = 1_000_000_000
"""No picture waits this long on its way, so a larger difference is a clock that was set."""


class StampMapper:
    """Maps a camera's clock to the monotonic one by the frame that travelled fastest.

    A frame can be late by the bus and the host, never early, so the smallest difference of arrival
    and camera stamp is the best estimate of the offset; a window lets it follow a drift. What even
    the fastest frame needs cannot be seen from here: `latency_ns` is measured and handed in.
    """

    def __init__(self, latency_ns: int = 0) -> None:
        """Begin without an offset; the fastest frame was taken `latency_ns` before it came."""
        self._offsets_ns: deque[int] = deque(maxlen=_OFFSETS)
        self._latency_ns = latency_ns
        self._camera_ns: int | None = None
        self.is_replaced = False
        """Whether the newest stamp is the time of arrival, because the camera's jumped."""

    def map(self, camera_ns: int, arrival_ns: int) -> int:
        """Return the monotonic capture time of a frame, at most its arrival.

        A frame that is late keeps its own time. A stamp that does not follow the one before it,
        or that jumps by more than a second, is replaced by the arrival, and the offset is sought
        anew.
        """
        offset_ns = arrival_ns - camera_ns
        is_repeated = self._camera_ns is not None and camera_ns <= self._camera_ns
        jumped_ns = abs(offset_ns - min(self._offsets_ns)) if self._offsets_ns else 0
        self.is_replaced = is_repeated or jumped_ns > _MAX_JUMP_NS
        if self.is_replaced:
            self._offsets_ns.clear()
        self._camera_ns = camera_ns
        self._offsets_ns.append(offset_ns)
        return min(camera_ns + min(self._offsets_ns), arrival_ns) - self._latency_ns


class FrameCounter:
    """Numbers the frames of a camera that does not: gaps in its stamps are gaps in the numbers."""

    def __init__(self, period_ns: int) -> None:
        """Expect a frame every `period_ns`."""
        self._period_ns = period_ns
        self._camera_ns: int | None = None
        self._number = 0

    def count(self, camera_ns: int, *, is_replaced: bool) -> int:
        """Return the number of the frame with this stamp; a stamp of no use counts one."""
        if self._camera_ns is not None:
            periods = round((camera_ns - self._camera_ns) / self._period_ns)
            self._number += 1 if is_replaced else max(1, periods)
        self._camera_ns = camera_ns
        return self._number
