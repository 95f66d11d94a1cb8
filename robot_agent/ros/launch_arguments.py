"""The arguments of the launch files in plain data, so that they can be read without launch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robot_agent.core.errors import ConfigError
from robot_agent.ros.description import CAMERAS, AgentOptions
from robot_agent.sim.household import scene_named
from robot_agent.teleop import REMOTE_DEVICES


@dataclass(frozen=True)
class Argument:
    """One argument of a launch file."""

    default: str
    says: str
    choices: tuple[str, ...] = ()


_BOOL = ("true", "false")
COMMON: Mapping[str, Argument] = {
    "namespace": Argument("wx250s", "Name of the robot; all names are below it."),
    "folder": Argument("runs/up", "Logs, latch, and by default episodes and releases."),
    "params_file": Argument("", "ROS YAML whose parameters are laid over those of every node."),
    "limits_file": Argument("", "YAML of the guard's limits; empty keeps the coded ones."),
}
AGENT: Mapping[str, Argument] = {
    **COMMON,
    "store": Argument("", "Episode store; empty is FOLDER/episodes."),
    "releases": Argument("", "Release registry; empty is FOLDER/releases."),
    "promotion_file": Argument(
        "", "YAML of what new weights must show; empty keeps the coded values."
    ),
    "policy_server": Argument("", "HOST:PORT of a policy on another machine; empty: releases."),
    "policy_token_file": Argument("", "File of the secret of that policy's server."),
    "teleop": Argument("none", "Operator's device to start too.", ("none", *REMOTE_DEVICES)),
}
SIM: Mapping[str, Argument] = {
    "scene": Argument("home", "Simulated scene; robot-agent scenes list names them."),
    "seed": Argument("0", "Seed of the simulated world."),
    "time_factor": Argument("1.0", "Simulated time over wall time, 0.1 to 20."),
}
ROBOT: Mapping[str, Argument] = {
    "driver": Argument(
        "xsarm_control",
        "Start Interbotix's driver here, or none where it runs already.",
        ("xsarm_control", "none"),
    ),
    "load_configs": Argument(
        "false", "Write the motors' EEPROM at the start: true once, for a new arm.", _BOOL
    ),
    "camera": Argument("ours", "Who reads the camera.", CAMERAS),
    "camera_topic": Argument("/camera/camera/color/image_raw", "Pictures of camera:=topic."),
    "calibration": Argument("calibration", "Folder of the robot's calibrations."),
    "camera_serial": Argument("", "Serial number of the camera; empty takes any."),
}
TELEOP: Mapping[str, Argument] = {
    "namespace": COMMON["namespace"],
    "params_file": COMMON["params_file"],
    "device": Argument("gamepad", "Operator's device.", REMOTE_DEVICES),
    "layout": Argument(
        "joy", "Layout of a gamepad, and the node that reads it.", ("joy", "game_controller")
    ),
    "start_driver": Argument(
        "true", "Start the node that reads the device (joy, spacenav).", _BOOL
    ),
}


def arguments_of(kind: str) -> Mapping[str, Argument]:
    """Return the arguments of the launch file `agent`, `sim`, `calibrate` or `teleop`."""
    match kind:
        case "agent":
            return {**AGENT, **ROBOT}
        case "sim":
            return {**AGENT, **SIM}
        case "calibrate":
            return {**COMMON, **ROBOT}
        case "teleop":
            return TELEOP
    raise ConfigError(f"launch file '{kind}' is unknown: agent, sim, calibrate or teleop.")


def options_from(values: Mapping[str, str], *, is_simulated: bool) -> AgentOptions:
    """Return the options that launch arguments, all text, stand for.

    Raises:
        ConfigError: A number that is none, or a file that does not exist.
    """
    params_file = values.get("params_file", "")
    if params_file and not Path(params_file).is_file():
        raise ConfigError(f"params_file '{params_file}': no such file. Give the path of a YAML.")
    device = values.get("teleop", "none")
    try:
        return AgentOptions(
            is_simulated=is_simulated,
            namespace=values["namespace"],
            folder=Path(values["folder"]),
            store=Path(values["store"]) if values.get("store") else None,
            releases=Path(values["releases"]) if values.get("releases") else None,
            limits_file=values["limits_file"],
            params_file=params_file,
            promotion_file=values.get("promotion_file", ""),
            policy_server=values.get("policy_server", ""),
            policy_token_file=values.get("policy_token_file", ""),
            scene=scene_named(values.get("scene", "home")).name,
            seed=int(values.get("seed", "0")),
            time_factor=float(values.get("time_factor", "1.0")),
            camera=values.get("camera", "ours"),
            camera_topic=values.get("camera_topic", ""),
            calibration=Path(values.get("calibration", "calibration")),
            camera_serial=values.get("camera_serial", ""),
            teleop="" if device == "none" else device,
        )
    except ValueError as error:
        raise ConfigError(f"launch arguments: {error}") from error
