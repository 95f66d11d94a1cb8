"""The places that arms stand in: where the tool may go, and where an episode starts."""

from dataclasses import dataclass

from robot_agent.core.errors import InputError
from robot_agent.guard.limits import GuardConfig, Point

RESET_TOOL_M = (0.258325, 0.0, 0.19065)
"""AutoEval's reset pose: pointing straight down, gripper open (manipulator_gym, widowx.py)."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One place."""

    guard: GuardConfig
    """Limits of the arm here."""
    start_tool_m: Point | None = None
    """Where the tool starts; None draws it anew for each reset."""


CELLS = {
    "table": Cell(guard=GuardConfig()),
    "drawer": Cell(
        guard=GuardConfig(
            box_low_m=(0.126030, -0.164525, 0.021605), box_high_m=(0.363585, 0.077006, 0.163698)
        ),
        start_tool_m=RESET_TOOL_M,
    ),
    "sink": Cell(
        guard=GuardConfig(
            box_low_m=(0.199781, -0.098507, 0.087062), box_high_m=(0.364727, 0.194998, 0.233970)
        ),
        start_tool_m=RESET_TOOL_M,
    ),
}
"""Boxes from AutoEval's eval_config.py. The reset pose lies 27 mm above the drawer's box; AutoEval
clips the sum of state and action, so the first action takes the tool down to the lid of the box.
The guard clips targets alike: the same happens, as one step that it reports as changed."""


def cell_named(name: str) -> Cell:
    """Return a cell; InputError lists the names."""
    if name not in CELLS:
        raise InputError(f"cell '{name}' is unknown. Choose one of: {', '.join(CELLS)}.")
    return CELLS[name]
