"""The processes of the agent, said once, for `robot-agent up` and for the launch files."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robot_agent.core.config import to_plain
from robot_agent.guard.limits import GuardConfig
from robot_agent.ros import params
from robot_agent.ros.calibrations import SIMULATED
from robot_agent.sim.cells import cell_named
from robot_agent.sim.household import scene_named
from robot_agent.teleop import REMOTE_DEVICES

CAMERAS = ("ours", "realsense2_camera", "topic")
"""Our RealSense backend; Intel's node and our checks behind it; or any node's pictures."""
VIEW_NAME = "view.png"
"""Picture of the calibrated view among the calibrations, as `camera reference` keeps it."""
NODE_MODULE = "robot_agent.node"
"""Module that runs one node by name: `python -m robot_agent.node arm_guard`."""


@dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """What to bring up."""

    is_simulated: bool = True
    namespace: str = "wx250s"
    folder: Path = Path("runs/up")
    """Logs, the latch, and, unless told otherwise, episodes and releases."""
    store: Path | None = None
    releases: Path | None = None
    limits_file: str = ""
    calibration: Path = Path("calibration")
    """Calibrations of the real robot; without them no episode is recorded there."""
    camera_serial: str = ""
    """Serial number of the real camera; empty takes any."""
    promotion_file: str = ""
    """YAML of PromotionConfig: what new weights must show before they stay."""
    scene: str = "home"
    seed: int = 0
    time_factor: float = 1.0
    camera_size_px: tuple[int, int] = (640, 480)
    camera_hz: float = 20.0
    camera: str = "ours"
    """One of CAMERAS; on a robot."""
    camera_topic: str = ""
    """Where the pictures of `camera: topic` are."""
    streams: bool = False
    """Whether episodes also keep every picture and joint reading between their steps."""
    store_budget_gb: float = 0.0
    """No new episode begins when the store holds more [GB]; 0 sets no limit."""
    teleop: str = ""
    """Operator's device to start too; empty for none."""
    policy_server: str = ""
    """HOST:PORT of a policy that runs elsewhere; empty uses the release registry."""
    policy_token_file: str = ""
    """File of the secret that its server was started with."""
    params_file: str = ""
    """ROS YAML whose parameters are laid over those of every node."""

    def __post_init__(self) -> None:
        """Refuse a simulated clock on a real arm, and parts that nobody knows."""
        if not self.is_simulated and self.time_factor != 1.0:
            raise ValueError(
                f"time_factor={self.time_factor} is a simulated clock, must be 1 on a real arm"
            )
        if self.camera not in CAMERAS:
            raise ValueError(f"camera='{self.camera}' must be one of {', '.join(CAMERAS)}")
        if self.teleop not in ("", *REMOTE_DEVICES):
            raise ValueError(
                f"teleop='{self.teleop}' must be one of {', '.join(REMOTE_DEVICES)}, or empty; "
                f"for a keyboard, in a terminal: robot-agent teleop"
            )

    @property
    def pictures_topic(self) -> str:
        """Topic that our camera node listens to; empty when it reads the device itself."""
        if self.camera == "realsense2_camera":
            return f"/{self.namespace}/realsense/camera/color/image_raw"
        return self.camera_topic if self.camera == "topic" else ""

    @property
    def shipped(self) -> str:
        """The shipped policy that knows the tasks of the simulated scene."""
        is_table = not self.is_simulated or scene_named(self.scene).cell == "table"
        return "tiny" if is_table else "tiny-twin"

    @property
    def store_folder(self) -> Path:
        """Folder of the episode store."""
        return self.store or self.folder / "episodes"

    @property
    def releases_folder(self) -> Path:
        """Folder of the release registry."""
        return self.releases or self.folder / "releases"


@dataclass(frozen=True, kw_only=True)
class NodeProcess:
    """One process."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_lifecycle: bool = False
    """Configured and activated in the order of the description."""
    module: tuple[str, ...] = ("-m", NODE_MODULE)

    def arguments(self, namespace: str, params_file: str = "") -> list[str]:
        """Return the command line; the file's parameters are laid over ours."""
        words = [sys.executable, *self.module, self.name]
        words += ["--ros-args", "-r", f"__ns:=/{namespace}"]
        words += params.arguments(self.parameters)
        return [*words, "--params-file", params_file] if params_file else words


def processes(options: AgentOptions) -> tuple[NodeProcess, ...]:
    """Return the processes in the order in which they are brought up.

    In simulation `sim_world` plays the driver and the camera; on a robot Interbotix's driver is
    started by its own launch file, and `camera` reads the RealSense.
    """
    factor = {"time_factor": options.time_factor}
    store, releases = str(options.store_folder), str(options.releases_folder)
    policy = {
        "releases": releases,
        "shipped": options.shipped,
        "is_simulated": options.is_simulated,
        "promotion_file": options.promotion_file,
        "server": options.policy_server,
        "token_file": options.policy_token_file,
        # A camera that falls silent is held within 0.5 s: the age, and the action in force.
        "max_image_age_s": 0.5 if options.is_simulated else 0.25,
    }
    adaptation = {
        "run": str(options.folder / "adapt"),
        "store": store,
        "releases": releases,
        "captures": str(options.folder / "captures"),
        "is_simulated": options.is_simulated,
    }
    device = {"device": options.teleop}
    operator = NodeProcess(name="teleop", parameters=device | factor)
    return (
        *calibration_processes(options),
        *([] if options.is_simulated else [_camera_frames(options)]),
        NodeProcess(name="policy", parameters=policy | factor, is_lifecycle=True),
        NodeProcess(name="recorder", parameters=_recorder_parameters(options) | factor),
        NodeProcess(name="adaptation", parameters=adaptation),
        *([operator] if options.teleop else []),
    )


def calibration_processes(options: AgentOptions) -> tuple[NodeProcess, ...]:
    """Return the body and the guard: what sees and moves, without what decides or records."""
    guard = _guard_parameters(options) | {"time_factor": options.time_factor}
    body = _sim_world(options) if options.is_simulated else _camera(options)
    return body, NodeProcess(name="arm_guard", parameters=guard, is_lifecycle=True)


def _guard_parameters(options: AgentOptions) -> dict[str, Any]:
    return {
        "limits_file": options.limits_file,
        "limits": _cell_limits(options.scene) if options.is_simulated else "",
        "latch_file": str(options.folder / "latch.json"),
        "driver": "simulated" if options.is_simulated else "xs_sdk",
    }


def _recorder_parameters(options: AgentOptions) -> dict[str, Any]:
    return {
        "store": str(options.store_folder),
        "captures": str(options.folder / "captures"),
        "calibration": SIMULATED if options.is_simulated else str(options.calibration),
        "robot": options.namespace,
        "camera_serial": options.camera_serial,
        "streams": options.streams,
        "budget_gb": options.store_budget_gb,
    }


def _sim_world(options: AgentOptions) -> NodeProcess:
    width, height = options.camera_size_px
    return NodeProcess(
        name="sim_world",
        parameters={
            "scene": options.scene,
            "seed": options.seed,
            "camera_width": width,
            "camera_height": height,
            "camera_hz": options.camera_hz,
            "time_factor": options.time_factor,
        },
    )


def _camera(options: AgentOptions) -> NodeProcess:
    width, height = options.camera_size_px
    parameters: dict[str, Any] = {"width": width, "height": height}
    parameters["serial"] = options.camera_serial
    if (reference := options.calibration / VIEW_NAME).is_file():  # nobody must remember to
        parameters["reference"] = str(reference.resolve())
    if options.pictures_topic:
        parameters |= {"source": "topic", "topic": options.pictures_topic}
    return NodeProcess(name="camera", parameters=parameters, is_lifecycle=True)


def _camera_frames(options: AgentOptions) -> NodeProcess:
    parameters = {
        "calibration": str(options.calibration),
        "robot": options.namespace,
        "camera_serial": options.camera_serial,
        "has_driver_frames": options.camera == "realsense2_camera",
        # Where the D435's driver has its colour sensor; its own frames then agree with ours.
        "link_optical_m": [0.0, 0.015, 0.0],
    }
    return NodeProcess(name="camera_frames", parameters=parameters)


def farewell(options: AgentOptions) -> str:
    """Return what a person must know when the agent ends, however it ends."""
    if options.is_simulated:
        return "the agent ended; the simulated arm held its last target"
    return (
        "the agent ended: nobody commands the arm, and its servos hold the last position. "
        "Support the arm before you cut its power: without power it falls"
    )


def _cell_limits(scene: str) -> str:
    """Return where the cell of a simulated scene differs from the guard's coded limits."""
    ordinary = to_plain(GuardConfig())
    limits = to_plain(cell_named(scene_named(scene).cell).guard)
    return ";".join(f"{key}={value}" for key, value in limits.items() if value != ordinary[key])
