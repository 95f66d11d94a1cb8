"""Let an operator's device correct a running agent; for the keyboard: robot-agent teleop.

ros2 launch robot_agent teleop.launch.py device:=gamepad
"""

from launch import LaunchDescription
from robot_agent.ros.launching import teleop_launch


def generate_launch_description() -> LaunchDescription:
    """Return the node that reads the device, and the one that says what it means."""
    return teleop_launch()
