"""The processes of the agent, said once, for `robot-agent up` and for the launch files."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robot_agent.ros import params
from robot_agent.ros.calibrations import SIMULATED

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
    scene: str = "home"
    seed: int = 0
    time_factor: float = 1.0
    camera_size_px: tuple[int, int] = (640, 480)
    camera_hz: float = 20.0

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
    width, height = options.camera_size_px
    body = (
        NodeProcess(
            name="sim_world",
            parameters={
                "scene": options.scene,
                "seed": options.seed,
                "camera_width": width,
                "camera_height": height,
                "camera_hz": options.camera_hz,
                **factor,
            },
        )
        if options.is_simulated
        else NodeProcess(
            name="camera",
            parameters={"width": width, "height": height, "serial": options.camera_serial},
            is_lifecycle=True,
        )
    )
    guard = {"limits_file": options.limits_file, "latch_file": str(options.folder / "latch.json")}
    adaptation = {
        "run": str(options.folder / "adapt"),
        "store": store,
        "releases": releases,
        "is_simulated": options.is_simulated,
    }
    return (
        body,
        NodeProcess(name="arm_guard", parameters=guard | factor, is_lifecycle=True),
        NodeProcess(name="policy", parameters={"releases": releases} | factor, is_lifecycle=True),
        NodeProcess(name="recorder", parameters=_recorder(options) | factor),
        NodeProcess(name="adaptation", parameters=adaptation),
    )


def _recorder(options: AgentOptions) -> dict[str, Any]:
    return {
        "store": str(options.store_folder),
        "captures": str(options.folder / "captures"),
        "calibration": SIMULATED if options.is_simulated else str(options.calibration),
        "robot": options.namespace,
        "camera_serial": options.camera_serial,
    }
