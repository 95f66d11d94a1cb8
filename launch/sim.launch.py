"""Bring the agent up on the simulated robot.

ros2 launch robot_agent sim.launch.py scene:=kitchen
"""

from launch import LaunchDescription
from robot_agent.ros.launching import agent_launch


def generate_launch_description() -> LaunchDescription:
    """Return the processes of a simulated robot, from the one description of them."""
    return agent_launch(is_simulated=True)
