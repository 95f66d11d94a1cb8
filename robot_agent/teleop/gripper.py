"""How a device moves the gripper without moving it at a takeover."""

from robot_agent.teleop.sample import ToolView


class GripperToggle:
    """A button that opens a closed gripper and closes an open one."""

    def __init__(self) -> None:
        """Wish nothing."""
        self._wish: float | None = None
        self._was_down = False

    def look(self, is_down: bool, tool: ToolView | None, *, is_held: bool) -> float | None:
        """Return the wanted opening; None leaves the gripper alone.

        A wish lasts while the deadman is held, so that a lost message does not lose it, and is
        forgotten at release: the next takeover keeps whatever the gripper does then.
        """
        is_pressed, self._was_down = is_down and not self._was_down, is_down
        if not is_held:
            self._wish = None
        elif is_pressed and tool is not None:
            present = tool.gripper if self._wish is None else self._wish
            self._wish = 0.0 if present > 0.5 else 1.0
        return self._wish


class GripperPickup:
    """A trigger or a leader's finger: it takes hold of the gripper once it is moved on purpose."""

    def __init__(self, travel: float = 0.15) -> None:
        """Ask for a change of `travel`, a share of the whole opening, before it counts."""
        self._travel = travel
        self._reference: float | None = None
        self._has_hold = False

    def look(self, opening: float, *, is_held: bool) -> float | None:
        """Return the wanted opening, 0 to 1; None until the operator moves it after a takeover."""
        opening = min(max(opening, 0.0), 1.0)
        if not is_held:
            self._reference, self._has_hold = None, False
            return None
        if self._reference is None:
            self._reference = opening
        self._has_hold = self._has_hold or abs(opening - self._reference) >= self._travel
        return opening if self._has_hold else None
