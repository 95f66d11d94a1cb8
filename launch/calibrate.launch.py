"""Bring up driver, camera and guard alone, and say which command to run next.

ros2 launch robot_agent calibrate.launch.py
"""

from launch import LaunchDescription
from robot_agent.ros.launching import calibration_launch


def generate_launch_description() -> LaunchDescription:
    """Return what sees and moves, without what decides or records."""
    return calibration_launch()
