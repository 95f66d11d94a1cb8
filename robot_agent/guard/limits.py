"""The guard's numbers; YAML may tighten a coded ceiling and never loosen it."""

import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache

from robot_agent.core.bridge_action import STEP_LIMIT_M, STEP_LIMIT_RAD
from robot_agent.core.config import require_range

STEP_S = 0.2
"""Seconds that one Bridge action takes (5 Hz)."""
MAX_GRIPPER_PWM = 350.0
"""PWM at full pressure; Source: bridge_data_robot, custom_gripper_controller.py."""
GRIPPER_GAIN_PER_M = 300.0
"""Pressure per metre of finger error; Source: as above."""
HUGE_FACTOR = 3.0
"""Finite components beyond this many Boxes are a fault of the policy, not a large step."""
HUGE_GRIPPER = (-0.5, 1.5)
"""Gripper values outside are a fault too."""

CEILINGS: dict[str, tuple[float, float, str]] = {
    "max_step_m": (1e-4, STEP_LIMIT_M, "m"),
    "max_step_rad": (1e-3, STEP_LIMIT_RAD, "rad"),
    "max_tool_speed_mps": (0.01, 0.5, "m/s"),
    "max_joint_speed_radps": (0.05, 3.14, "rad/s"),
    "max_lead_m": (0.001, 0.10, "m"),
    "max_way_m": (0.001, 0.10, "m"),
    "joint_margin_rad": (0.02, 0.5, "rad"),
    "max_branch_step_rad": (0.1, 1.5, "rad"),
    "table_height_m": (-0.2, 0.3, "m"),
    "table_margin_m": (0.005, 0.2, "m"),
    "box_tolerance_m": (0.0005, 0.005, "m"),
    "min_clearance_m": (0.005, 0.05, "m"),
    "max_jump_speed_radps": (0.5, 6.3, "rad/s"),
    "jump_margin_rad": (0.02, 0.2, "rad"),
    "max_zero_frames": (1, 5, "frames"),
    "max_measured_age_s": (0.05, 0.25, "s"),
    "max_policy_silence_s": (0.05, 0.25, "s"),
    "max_deadman_age_s": (0.02, 0.2, "s"),
    "max_late_s": (0.0, 0.1, "s"),
    "max_future_s": (0.0, 0.1, "s"),
    "max_proposal_life_s": (0.1, 1.0, "s"),
    "max_observation_age_s": (0.2, 10.0, "s"),
    "min_step_interval_s": (0.1, 1.0, "s"),
    "hold_clear_s": (1.0, 60.0, "s"),
    "fault_window_s": (60.0, 3600.0, "s"),
    "max_non_finite": (1, 2, "in the window"),
    "max_huge": (1, 3, "in the window"),
    "max_following_rad": (0.05, 0.50, "rad"),
    "max_lean_m": (0.01, 0.50, "m"),
    "effort_share": (0.2, 1.0, "of Bridge's caps"),
    "strain_s": (0.04, 0.2, "s"),
    "stale_s": (0.1, 0.5, "s"),
    "max_outside_m": (0.01, 0.10, "m"),
    "warm_margin_c": (15.0, 40.0, "degrees"),
    "hot_margin_c": (5.0, 30.0, "degrees"),
    "low_voltage_v": (10.5, 12.0, "V"),
    "brown_out_v": (9.5, 11.5, "V"),
    "max_health_age_s": (1.0, 5.0, "s"),
    "grip_pwm": (50.0, 250.0, "of 885"),
    "max_grip_load": (50.0, 300.0, "thousandths"),
    "jam_s": (0.2, 1.0, "s"),
    "max_jams": (1, 3, "in the window"),
}
"""Lowest and highest value that a configuration file may ask for, and the unit."""
BOX_CEILING = ((0.05, -0.40, 0.0), (0.60, 0.40, 0.50))
"""Largest box for the tool point, base_link [m]."""
BODY_CEILING = ((-0.40, -0.50, 0.0), (0.65, 0.50, 0.75))
"""Largest box for wrist and elbow, base_link [m]."""

EFFORT_CAPS_MA = (1360.0, 1700.0, 1020.0, 1020.0, 1020.0, 1190.0)
"""Largest effort of each joint; Source: bridge_data_robot, ABS_MAX_JOINT_EFFORTS x 1.7."""
PEAK_S = 0.14
"""A way D in one time profile (250 ms, 100 ms of them to accelerate) peaks at D / 0.15 s, and a
little higher when the next one begins before it has ended."""
SLOW_SHARE = 0.5
"""Share of every speed that is left while a motor is warm."""

Point = tuple[float, float, float]


def _require_box(name: str, low: Point, high: Point, ceiling: tuple[Point, Point]) -> None:
    for axis in range(3):
        require_range(f"{name}_low_m[{axis}]", low[axis], ceiling[0][axis], ceiling[1][axis], "m")
        require_range(f"{name}_high_m[{axis}]", high[axis], low[axis], ceiling[1][axis], "m")


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """Limits and waiting times of the guard; see CEILINGS for what a file may ask for."""

    box_low_m: Point = (0.10, -0.25, 0.015)
    """Lowest tool point in base_link."""
    box_high_m: Point = (0.48, 0.30, 0.35)
    """Highest tool point in base_link."""
    body_low_m: Point = (-0.35, -0.45, 0.015)
    """Lowest wrist and elbow point; wider than the tool's box, as the elbow leans back."""
    body_high_m: Point = (0.60, 0.45, 0.70)
    """Highest wrist and elbow point."""
    table_height_m: float = 0.0
    """Height of the table plane in base_link."""
    table_margin_m: float = 0.01
    """Height above the table that every body point keeps."""
    box_tolerance_m: float = 0.002
    """How far a solved body point may pass a face; covers the residual of the inverse."""
    min_clearance_m: float = 0.01
    """Gap that links keep from each other, from the base and from the table; see collision.py."""
    max_step_m: float = STEP_LIMIT_M
    """Largest component of a step's translation; longer ones keep their direction."""
    max_step_rad: float = STEP_LIMIT_RAD
    """Largest component of a step's rotation, clipped per axis as Bridge does."""
    max_tool_speed_mps: float = 0.25
    """Ceiling on the way of any point of the arm in a step divided by 0.2 s.

    Source: ISO 10218-1:2025, class I.
    """
    max_joint_speed_radps: float = 1.5
    """Joint targets lie at most this times 0.2 s from the measured joints."""
    max_lead_m: float = 0.06
    """How far the commanded tool may run ahead of the measured tool (target wind-up)."""
    max_way_m: float = 0.10
    """How far a target may lead any point of the arm; on a real arm follows from the ceiling."""
    joint_margin_rad: float = 0.05
    """Distance kept from the joint limits; SLEEP lies 0.056 rad from one and must stay legal."""
    max_branch_step_rad: float = 1.0
    """A joint solution farther than this from the measured joints is another branch."""
    max_jump_speed_radps: float = 3.1415
    """Measured joints cannot move faster (times 1.5, plus the margin below)."""
    jump_margin_rad: float = 0.1
    """Measured jumps up to this are noise."""
    max_zero_frames: int = 3
    """Consecutive all-zero joint readings that stop the arm (a failed sync read)."""
    max_measured_age_s: float = 0.25
    """Older joint states stop the arm."""
    max_policy_silence_s: float = 0.25
    """Longer silence of the inference loop holds the arm."""
    max_deadman_age_s: float = 0.2
    """An operator command older than this no longer holds the deadman."""
    max_late_s: float = 0.1
    """Lateness after a deadline that is still starvation-free."""
    max_future_s: float = 0.1
    """A stamp farther in the future is refused."""
    max_proposal_life_s: float = 0.5
    """A proposal is in force at most this long after it was accepted, whatever its deadline."""
    max_observation_age_s: float = 5.0
    """A proposal that answers an older observation is stale."""
    min_step_interval_s: float = 0.16
    """Proposals that come faster wait; the newest in force is taken."""
    hold_clear_s: float = 1.0
    """A hold ends when its cause has been away this long."""
    fault_window_s: float = 60.0
    """Window in which bad proposals are counted."""
    max_non_finite: int = 2
    """Non-finite proposals in the window that stop the arm."""
    max_huge: int = 3
    """Huge proposals in the window that stop the arm."""
    max_following_rad: float = 0.50
    """A joint this far from where it should be by now has met something; see strain.py.

    Simulated arms lean on furniture with up to 0.3 rad; `on_arm.yaml` allows a real one half.
    """
    max_lean_m: float = 0.50
    """A point of the arm this far from where it should be, for half a second, has met something.

    Off in simulation, as above; `on_arm.yaml` asks for it.
    """
    effort_share: float = 1.0
    """Share of EFFORT_CAPS_MA that is allowed."""
    strain_s: float = 0.1
    """Following error or effort that lasts this long stops the arm."""
    stale_s: float = 0.3
    """Readings that repeat exactly this long, while the arm should move, are no readings."""
    max_outside_m: float = 0.05
    """A body point measured this far outside its box stops the arm."""
    warm_margin_c: float = 15.0
    """A motor this close to its temperature limit slows the arm."""
    hot_margin_c: float = 5.0
    """A motor this close to its temperature limit stops the arm."""
    low_voltage_v: float = 10.5
    """Less holds the arm."""
    brown_out_v: float = 10.0
    """Less stops it."""
    max_health_age_s: float = 3.0
    """The arm holds when the motors' health is older, once it was known."""
    grip_pwm: float = 200.0
    """PWM of a grip that meets resistance."""
    max_grip_load: float = 250.0
    """Load of the gripper [thousandths of full] above which it counts as resisted."""
    jam_s: float = 1.0
    """A gripper that pushes in vain above that load this long is let loose."""
    max_jams: int = 2
    """So many in the window stop the arm."""

    def __post_init__(self) -> None:
        """Refuse what exceeds a coded ceiling; the message names the value and the ceiling."""
        for field in fields(self):
            if field.name in CEILINGS:
                low, high, unit = CEILINGS[field.name]
                require_range(field.name, getattr(self, field.name), low, high, unit)
        _require_box("box", self.box_low_m, self.box_high_m, BOX_CEILING)
        _require_box("body", self.body_low_m, self.body_high_m, BODY_CEILING)

    @property
    def max_translation_m(self) -> float:
        """Longest way of any point of the arm in one step, from the speed ceiling."""
        return self.max_tool_speed_mps * STEP_S

    @property
    def max_joint_step_rad(self) -> float:
        """Largest distance of a joint target from its measured joint."""
        return self.max_joint_speed_radps * STEP_S

    @property
    def floor_m(self) -> float:
        """Lowest height of any body point."""
        return self.table_height_m + self.table_margin_m


def at_most_its_speed(config: GuardConfig) -> GuardConfig:
    """Return limits under which even the peak of a servo's profile keeps the speed ceiling.

    Servos cover the way from where they are to the target in one profile, so the longest way of
    any point bounds its speed.
    """
    way_m = min(config.max_way_m, config.max_tool_speed_mps * PEAK_S)
    return replace(config, max_way_m=way_m, max_lead_m=min(config.max_lead_m, way_m))


@lru_cache(maxsize=16)
def slowed(config: GuardConfig, speed: float) -> GuardConfig:
    """Return the limits at a share of the ordinary speed; a share above 1 changes nothing.

    Steps, turns and the speeds of tool and joints shrink alike, so that the path keeps its shape.
    No limit falls below the lowest that a file may ask for, and none rises.

    Args:
        config: The ordinary limits.
        speed: Share of them; must be above 0, see `is_speed`.
    """
    if speed >= 1.0:
        return config

    def share(name: str) -> float:
        return max(CEILINGS[name][0], speed * float(getattr(config, name)))

    return replace(
        config,
        max_step_m=share("max_step_m"),
        max_step_rad=share("max_step_rad"),
        max_tool_speed_mps=share("max_tool_speed_mps"),
        max_joint_speed_radps=share("max_joint_speed_radps"),
    )


def is_speed(speed: object) -> bool:
    """Return whether a proposal's speed is a finite number above 0."""
    return isinstance(speed, float | int) and math.isfinite(speed) and speed > 0.0


def to_ns(seconds: float) -> int:
    """Return whole nanoseconds of a duration in seconds, rounded to the nearest."""
    return math.floor(seconds * 1e9 + 0.5)
