"""Frames on their way from the thread that receives them to the one that reads them."""

import threading
from collections import deque

from robot_agent.core.errors import InputError
from robot_agent.core.types import Frame

_LENGTH = 16
"""Half a second at 30 Hz: more would be too old to act on."""


class FrameQueue:
    """The newest frames, oldest first; any thread may put, one takes."""

    def __init__(self) -> None:
        """Begin empty."""
        self._entries: deque[Frame | InputError] = deque(maxlen=_LENGTH)
        self._changed = threading.Condition()

    def put(self, entry: Frame | InputError) -> None:
        """Add a frame, or why one cannot be used; the oldest entry makes room."""
        with self._changed:
            self._entries.append(entry)
            self._changed.notify()

    def take(self, timeout_s: float) -> Frame | None:
        """Return the oldest frame, or None when there was none in time; raise what was put."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._entries, timeout_s):
                return None
            entry = self._entries.popleft()
        if isinstance(entry, InputError):
            raise entry
        return entry
