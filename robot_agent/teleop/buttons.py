"""Buttons that say something: each press is one event."""

from collections import deque
from collections.abc import Mapping, Sequence

REPEATS = 5
"""Samples that carry an event: a listener that keeps only the newest message may miss some."""


class EventQueue:
    """Events in the order in which they came, each in a few samples; a stop goes first."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._waiting: deque[str] = deque(maxlen=8)
        self._left = 0

    def put(self, event: str) -> None:
        """Add an event."""
        if event == "stop":
            self._waiting.clear()
            self._left = 0
        self._waiting.append(event)

    def take(self) -> str:
        """Return the event of the next sample, or an empty text."""
        if not self._waiting:
            return ""
        if self._left == 0:
            self._left = REPEATS
        self._left -= 1
        return self._waiting.popleft() if self._left == 0 else self._waiting[0]


class EventButtons:
    """Puts an event whenever its button goes down."""

    def __init__(self, events: Mapping[int, str], queue: EventQueue) -> None:
        """Watch the buttons whose numbers are the keys of `events`."""
        self._events, self._queue = dict(events), queue
        self._down: set[int] = set()

    def look(self, buttons: Sequence[int]) -> None:
        """Compare with the reading before; buttons that a device does not have are never down."""
        down = {n for n in self._events if n < len(buttons) and buttons[n]}
        for number in sorted(down - self._down):
            self._queue.put(self._events[number])
        self._down = down
