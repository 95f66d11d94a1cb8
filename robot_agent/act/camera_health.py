"""Judges a stream of pictures: what is wrong, and whether the arm may act on them."""

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from robot_agent.act.observation import FrameHealth, PairingConfig
from robot_agent.act.picture_quality import Quality, measure
from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray, Frame


class Reaction(IntEnum):
    """What a fault asks for; the strongest wins."""

    NONE = 0
    NOTE = 1
    """Say it, go on."""
    DROP = 2
    """Do not use this picture; the one before serves meanwhile."""
    HOLD = 3
    """Hand on no picture until all is well for a while: without a fresh one the arm holds."""


@dataclass(frozen=True)
class Rule:
    """What is done about a fault that lasts."""

    first: Reaction
    pictures: int
    """As many in a row get the first reaction."""
    then: Reaction
    remedy: str


RULES = {
    "dark": Rule(Reaction.DROP, 3, Reaction.HOLD, "Switch on a light or open the lens cap."),
    "saturated": Rule(Reaction.DROP, 3, Reaction.HOLD, "Shade the camera or lower its exposure."),
    "blurred": Rule(Reaction.DROP, 3, Reaction.NOTE, "Clean the lens or focus it."),
    "frozen": Rule(Reaction.HOLD, 0, Reaction.HOLD, "Unplug the camera and plug it in again."),
    "clock": Rule(Reaction.NOTE, 5, Reaction.HOLD, "Its stamps jump: restart the camera."),
    "late": Rule(Reaction.NOTE, 5, Reaction.HOLD, "Free the processor or the USB bus."),
    "slow": Rule(Reaction.NOTE, 0, Reaction.NOTE, "Use a USB 3 port, or ask for fewer pictures."),
    "stalling": Rule(Reaction.NOTE, 3, Reaction.HOLD, "Use a USB 3 port; add light."),
    "no_depth": Rule(
        Reaction.NOTE, 0, Reaction.NOTE, "Uncover the infrared projector; colour goes on."
    ),
    "moved": Rule(Reaction.HOLD, 0, Reaction.HOLD, "Put the camera back, or calibrate it anew."),
}
"""Faults of a stream; those of a picture before those of time. Failures S2 to S12."""


@dataclass(frozen=True, kw_only=True)
class HealthConfig:
    """Where a fault begins."""

    dark_below: float = 16.0
    """Mean grey level; or the highlights reach only three times as much."""
    clipped_above: float = 0.4
    """Share of the picture that is white."""
    blurred_below: float = 0.5
    """Sharpness over that of the reference picture, or of the first pictures."""
    unfocused_below: float = 0.12
    """Sharpness below which a picture is blurred, whatever the first ones were."""
    slow_below: float = 0.8
    """Rate over the rate that was asked for."""
    stalling_below: float = 0.4
    max_late_s: float = 0.1
    """Longest way of a picture from the sensor to here."""
    clear_after_s: float = 1.0
    """After a hold all must be well for so long."""
    pairing: PairingConfig = field(default_factory=PairingConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("dark_below", self.dark_below, 0.0, 100.0)
        require_range("clipped_above", self.clipped_above, 0.01, 1.0)
        require_range("blurred_below", self.blurred_below, 0.0, 0.95)
        require_range("unfocused_below", self.unfocused_below, 0.0, 0.3)
        require_range("slow_below", self.slow_below, 0.1, 1.0)
        require_range("stalling_below", self.stalling_below, 0.0, self.slow_below)
        require_range("max_late_s", self.max_late_s, 0.01, 1.0, "s")
        require_range("clear_after_s", self.clear_after_s, 0.0, 10.0, "s")


@dataclass(frozen=True)
class Verdict:
    """What one picture is worth."""

    reaction: Reaction
    causes: tuple[str, ...]
    quality: Quality
    rate_hz: float

    @property
    def is_fit(self) -> bool:
        """Whether the picture may be acted on."""
        return self.reaction < Reaction.DROP

    def words(self) -> str:
        """Return causes and remedies for a person, or an empty text."""
        return "; ".join(f"{cause}: {RULES[cause].remedy}" for cause in self.causes)


class CameraHealth:
    """Looks at every picture of one stream, in order; one thread. Time comes with the pictures."""

    _BASELINE = 30
    """The median sharpness of so many first pictures is what later ones are compared with."""
    _SMOOTHING = 0.1

    def __init__(
        self, config: HealthConfig, period_s: float, reference_sharpness: float | None = None
    ) -> None:
        """Expect a picture every `period_s`, as sharp as the reference or as the first ones."""
        self._config, self._period_s = config, period_s
        self._frozen = FrameHealth(config.pairing)
        self._reference = reference_sharpness
        self._first: deque[float] = deque(maxlen=self._BASELINE)
        self._interval_s = period_s
        self._arrival_ns: int | None = None
        self._in_a_row = dict.fromkeys(RULES, 0)
        self._held_ns: int | None = None
        self.has_moved = False
        """Set from outside by who compares with the reference picture."""

    def look(self, frame: Frame, arrival_ns: int, joints_rad: FloatArray | None) -> Verdict:
        """Return the verdict about a picture that came at `arrival_ns` with the arm at `joints`.

        A fault that lasts longer than its rule allows becomes stronger; a hold ends when no
        picture asked for one for `clear_after_s`.
        """
        quality = measure(frame.image_hwc)
        found = self._picture_faults(quality) + self._stream_faults(frame, arrival_ns, joints_rad)
        for cause in RULES:
            self._in_a_row[cause] = self._in_a_row[cause] + 1 if cause in found else 0
        reaction = max((self._reaction(cause) for cause in found), default=Reaction.NONE)
        if reaction == Reaction.HOLD:
            self._held_ns = arrival_ns
        elif self._held_ns is not None:
            if arrival_ns - self._held_ns < self._config.clear_after_s * 1e9:
                reaction = Reaction.HOLD
            else:
                self._held_ns = None
        return Verdict(reaction, tuple(found), quality, 1.0 / self._interval_s)

    def is_silent(self, now_ns: int) -> bool:
        """Return whether no picture came for two and a half periods."""
        return self._arrival_ns is None or now_ns - self._arrival_ns > 2.5e9 * self._period_s

    def _reaction(self, cause: str) -> Reaction:
        rule = RULES[cause]
        return rule.first if self._in_a_row[cause] <= rule.pictures else rule.then

    def _picture_faults(self, quality: Quality) -> list[str]:
        """Return what is wrong with the picture alone; only one that is well lit can be sharp."""
        config = self._config
        if quality.brightness < config.dark_below or quality.highlight < 3 * config.dark_below:
            return ["dark"]
        if quality.clipped > config.clipped_above:
            return ["saturated"]
        limit = config.unfocused_below
        if self._reference is None:
            self._first.append(quality.sharpness)
            if len(self._first) == self._BASELINE:
                self._reference = float(np.median(self._first))
        else:
            limit = max(limit, config.blurred_below * self._reference)
        return ["blurred"] if quality.sharpness < limit else []

    def _stream_faults(
        self, frame: Frame, arrival_ns: int, joints_rad: FloatArray | None
    ) -> list[str]:
        found = []
        self._frozen.look(frame.image_hwc, joints_rad)
        if self._frozen.is_frozen:
            found.append("frozen")
        if frame.is_stamp_replaced:
            found.append("clock")
        elif abs(arrival_ns - frame.stamp_ns) > self._config.max_late_s * 1e9:
            found.append("late")
        if self._arrival_ns is not None:
            interval_s = max(arrival_ns - self._arrival_ns, 1) * 1e-9
            self._interval_s += self._SMOOTHING * (interval_s - self._interval_s)
        self._arrival_ns = arrival_ns
        share = self._period_s / self._interval_s
        if share < self._config.stalling_below:
            found.append("stalling")
        elif share < self._config.slow_below:
            found.append("slow")
        if frame.depth_mm is not None and not frame.depth_mm.any():
            found.append("no_depth")
        if self.has_moved:
            found.append("moved")
        return found
