"""Two sets of physics and optics: the trainer's simulator, and one that plays the real robot."""

from collections.abc import Mapping
from dataclasses import dataclass

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Physics:
    """How bodies move and how the camera sees; a scene says what is there.

    Fields in pixels and grey levels are those of a picture 640 pixels wide.
    """

    name: str
    timestep_s: float = 0.004
    integrator: str = "implicitfast"
    cone: str = "elliptic"
    impratio: float = 3.0
    solref: tuple[float, float] = (0.008, 1.0)
    """Time constant [s] and damping ratio of contacts."""
    solimp: tuple[float, float, float] = (0.9, 0.95, 0.001)
    """Least and greatest impedance of contacts, and the depth [m] between them."""
    friction_scale: float = 1.0
    """Of contacts and of the rail."""
    damping_scale: float = 1.0
    """Of joints, fingers and rail."""
    kp_scale: float = 1.0
    kv_scale: float = 1.0
    gravity_compensation: float = 1.0
    """Share of the arm's weight that the servos need not carry."""
    finger_force_n: float = 8.0
    """Force of one finger at full PWM."""
    delay_ticks: int = 0
    """Ticks of 20 ms from a command to its effect."""
    encoder_offset_rad: tuple[float, float, float, float, float, float] = (0.0,) * 6
    """What the encoders read above the truth."""
    focal_scale: float = 1.0
    """Focal length over the calibrated one."""
    blur_px: float = 0.0
    """Standard deviation of the lens's blur."""
    noise: float = 0.0
    """Standard deviation of the sensor's noise [grey levels]."""
    exposure: float = 1.0
    gamma: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gain of each colour."""
    scattered: float = 0.0
    """Share of the sun's light that comes from everywhere and softens what shadows take away."""
    shadows: bool = False
    samples: int = 0
    """Samples a pixel against jagged edges; 0 for one."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("timestep_s", self.timestep_s, 0.0005, 0.005, "s")
        require_range("delay_ticks", self.delay_ticks, 0, 10, "ticks")
        require_range("focal_scale", self.focal_scale, 0.8, 1.25)
        require_range("blur_px", self.blur_px, 0.0, 10.0, "px")
        require_range("scattered", self.scattered, 0.0, 1.0)
        require_range("noise", self.noise, 0.0, 50.0, "grey levels")

    @property
    def has_lens(self) -> bool:
        """Whether pictures go through the simulated lens and sensor."""
        return (self.blur_px, self.noise, self.exposure, self.gamma, *self.white_balance) != (
            0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0,
        )  # fmt: skip


TRAINER = Physics(name="trainer")
"""What policies and world models of the tiny tier are pretrained in."""
REAL = Physics(
    name="real",
    timestep_s=0.002,
    integrator="Euler",
    cone="pyramidal",
    impratio=1.0,
    solref=(0.014, 1.2),
    solimp=(0.85, 0.97, 0.002),
    friction_scale=0.75,
    damping_scale=1.4,
    kp_scale=0.6,
    kv_scale=0.8,
    gravity_compensation=0.8,
    finger_force_n=6.0,
    delay_ticks=2,
    encoder_offset_rad=(0.010, 0.009, -0.004, 0.008, -0.012, 0.015),
    focal_scale=1.025,
    blur_px=1.6,
    noise=5.0,
    exposure=0.88,
    gamma=1.12,
    white_balance=(1.06, 1.0, 0.90),
    scattered=0.7,
    shadows=True,
    samples=4,
)
"""Plays the real robot. Encoder offsets move the tool by 4 to 6 mm where it works, as the arm's
maker states an accuracy of 5 to 8 mm; servos sag, and commands arrive 40 ms late.

Source of the accuracy: Interbotix X-Series documentation, specifications of the wx250s.
"""
PHYSICS: Mapping[str, Physics] = {physics.name: physics for physics in (TRAINER, REAL)}


def physics_named(name: str) -> Physics:
    """Return a set by name; InputError lists the names."""
    if name not in PHYSICS:
        raise InputError(f"physics '{name}' is unknown. Choose one of: {', '.join(PHYSICS)}.")
    return PHYSICS[name]
