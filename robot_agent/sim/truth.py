"""What is really so in a simulated world; no policy and no judge sees it."""

from dataclasses import dataclass

from robot_agent.core.types import FloatArray


@dataclass(frozen=True, eq=False)
class Truth:
    """One moment, in base_link."""

    T_base_tool: FloatArray
    """Tool pose (4, 4), from the simulator's own kinematics."""
    finger_m: float
    """Position of the left finger."""
    drawer_m: float
    """Opening of the drawer; 0 where there is none."""
    T_base_object: FloatArray
    """Pose (4, 4) of the loose object, its long axis along x; zeros where there is none."""
    T_base_fixture: FloatArray
    """Pose (4, 4) of cabinet or sink."""
    object_speed_mps: float = 0.0

    @property
    def tool_m(self) -> FloatArray:
        """Tool position (3,)."""
        return self.T_base_tool[:3, 3]

    @property
    def object_m(self) -> FloatArray:
        """Middle of the loose object (3,)."""
        return self.T_base_object[:3, 3]

    def in_fixture(self, point_m: FloatArray) -> FloatArray:
        """Return a point (3,) of base_link in the fixture's frame."""
        turned: FloatArray = self.T_base_fixture[:3, :3].T @ (point_m - self.T_base_fixture[:3, 3])
        return turned
