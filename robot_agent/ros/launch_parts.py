"""Nodes of other packages that the launch files start: the arm's driver, cameras, devices."""

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node

from robot_agent.core.errors import ConfigError
from robot_agent.ros.description import AgentOptions


def share_of(package: str, remedy: str) -> Path:
    """Return the share folder of a ROS package; ConfigError with the remedy when it is missing."""
    try:
        return Path(get_package_share_directory(package))
    except (LookupError, OSError) as error:  # unknown, or no workspace is sourced at all
        raise ConfigError(
            f"package '{package}' is not installed or not sourced. {remedy}"
        ) from error


def arm_driver(namespace: str, load_configs: str) -> Any:
    """Return Interbotix's own launch of driver, URDF and robot_state_publisher.

    Source: interbotix_xsarm_control, launch/xsarm_control.launch.py (names of the arguments).
    """
    share = share_of(
        "interbotix_xsarm_control",
        "Source the Interbotix workspace (README, On a real arm), or start the driver by "
        "yourself and give driver:=none.",
    )
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / "launch" / "xsarm_control.launch.py")),
        launch_arguments=[
            ("robot_model", "wx250s"),
            ("robot_name", namespace),
            ("use_rviz", "false"),
            ("use_sim", "false"),
            ("load_configs", load_configs),
        ],
    )


def arm_description(namespace: str) -> list[Any]:
    """Return URDF and robot_state_publisher beside a simulated arm, where Interbotix's are here.

    Source: interbotix_xsarm_descriptions, launch/xsarm_description.launch.py (names of arguments).
    """
    try:
        share = share_of("interbotix_xsarm_descriptions", "")
    except ConfigError:
        return []  # the simulation needs no URDF; only viewers do
    source = PythonLaunchDescriptionSource(str(share / "launch" / "xsarm_description.launch.py"))
    arguments = [
        ("robot_model", "wx250s"),
        ("robot_name", namespace),
        ("use_rviz", "false"),
        ("use_joint_pub", "false"),
    ]
    return [IncludeLaunchDescription(source, launch_arguments=arguments)]


def realsense_node(options: AgentOptions) -> Any:
    """Return Intel's camera node, on the topic that our camera node then checks and stamps."""
    share_of("realsense2_camera", "sudo apt install ros-jazzy-realsense2-camera, or camera:=ours.")
    width, height = options.camera_size_px
    parameters: dict[str, Any] = {
        "rgb_camera.color_profile": f"{width}x{height}x30",
        "enable_depth": False,
        "diagnostics_period": 1.0,
    }
    if options.camera_serial:
        parameters["serial_no"] = f"_{options.camera_serial}"  # stays a text
    return Node(
        package="realsense2_camera",
        executable="realsense2_camera_node",
        name="camera",
        namespace=f"{options.namespace}/realsense",
        parameters=[parameters],
        output="both",
        respawn=True,
        respawn_delay=2.0,
    )


def device_driver(device: str, namespace: str, layout: str) -> list[Any]:
    """Return the node that reads an operator's device, where it is another package's."""
    match device:
        case "gamepad" | "vr" | "leader":
            # The hand and the leader grip with a button: a pedal or a pad.
            share_of("joy", "sudo apt install ros-jazzy-joy, or start_driver:=false.")
            name = "game_controller_node" if layout == "game_controller" else "joy_node"
            return [_reader("joy", name, namespace, autorepeat_rate=20.0, deadzone=0.02)]
        case "spacenav":
            share_of("spacenav", "sudo apt install ros-jazzy-spacenav spacenavd.")
            return [_reader("spacenav", "spacenav_node", namespace, zero_when_static=True)]
    return []


def _reader(package: str, executable: str, namespace: str, **parameters: Any) -> Any:
    return Node(
        package=package,
        executable=executable,
        name=executable,
        namespace=namespace,
        parameters=[parameters],
        output="both",
        respawn=True,
        respawn_delay=1.0,
    )
