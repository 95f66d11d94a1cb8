"""Bring the agent up on a robot: Interbotix's driver, the camera, the guard, and the rest.

ros2 launch robot_agent agent.launch.py folder:=runs/robot releases:=releases
"""

from launch import LaunchDescription
from robot_agent.ros.launching import agent_launch


def generate_launch_description() -> LaunchDescription:
    """Return the processes of a robot, from the one description of them."""
    return agent_launch(is_simulated=False)
