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

    def arguments(self, namespace: str) -> list[str]:
        """Return the command line."""
        words = [sys.executable, *self.module, self.name]
        words += ["--ros-args", "-r", f"__ns:=/{namespace}"]
        return words + params.arguments(self.parameters)


def processes(options: AgentOptions) -> tuple[NodeProcess, ...]:
    """Return the processes in the order in which they are brought up.

    In simulation `sim_world` plays the driver and the camera; on a robot Interbotix's driver is
    started by its own launch file, and `camera` reads the RealSense.
    """
    factor = {"time_factor": options.time_factor}
    store, releases = str(options.store_folder), str(options.releases_folder)
    guard = _guard_parameters(options)
    policy = {
        "releases": releases,
        "shipped": options.shipped,
        "is_simulated": options.is_simulated,
        "promotion_file": options.promotion_file,
    }
    adaptation = {
        "run": str(options.folder / "adapt"),
        "store": store,
        "releases": releases,
        "is_simulated": options.is_simulated,
    }
    return (
        _body(options),
        NodeProcess(name="arm_guard", parameters=guard | factor, is_lifecycle=True),
        NodeProcess(name="policy", parameters=policy | factor, is_lifecycle=True),
        NodeProcess(name="recorder", parameters=_recorder_parameters(options) | factor),
        NodeProcess(name="adaptation", parameters=adaptation),
    )


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
    }


def _body(options: AgentOptions) -> NodeProcess:
    """Return what stands for arm and camera, or the camera alone."""
    width, height = options.camera_size_px
    if not options.is_simulated:
        lens = {"width": width, "height": height, "serial": options.camera_serial}
        return NodeProcess(name="camera", parameters=lens, is_lifecycle=True)
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


def _cell_limits(scene: str) -> str:
    """Return where the cell of a simulated scene differs from the guard's coded limits."""
    ordinary = to_plain(GuardConfig())
    limits = to_plain(cell_named(scene_named(scene).cell).guard)
    return ";".join(f"{key}={value}" for key, value in limits.items() if value != ordinary[key])
