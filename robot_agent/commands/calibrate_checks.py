"""`calibrate frames|latency|workspace|view`: what commands mean, how late, where, and the view."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.calibrate_options import (
    add_common,
    folder_of,
    identity_of,
    save_and_show,
)
from robot_agent.commands.options import add_command, existing_file, new_file, number
from robot_agent.core.errors import CalibrationError, ConfigError

if TYPE_CHECKING:
    from robot_agent.calibrate.records import Record
    from robot_agent.commands.options import Commands
    from robot_agent.core.types import FloatArray

LIMITS_NAME = "guard_limits.yaml"


def register(group: "Commands") -> None:
    """Add the commands to the group `calibrate`."""
    workspace = add_command(group, "workspace", "table and box, by touching them", _workspace)
    workspace.add_argument(
        "--touches",
        type=Path,
        help="YAML of joints [rad]: `table` and `box`, each a list of six numbers; "
        "without it you are asked to move the arm by hand",
    )
    workspace.add_argument(
        "--clearance-mm", type=number(0.0, 50.0, "mm"), default=3.0, help="tips above the table"
    )
    add_common(workspace)
    frames = add_command(group, "frames", "the wiggle test: does each axis move as meant", _frames)
    add_common(frames)
    latency = add_command(group, "latency", "command to picture, by cross-correlation", _latency)
    latency.add_argument("--seconds", type=number(5, 120, "s"), default=16.0, help="of motion")
    latency.add_argument(
        "--planted-ms",
        type=number(0.0, 500.0, "ms"),
        default=0.0,
        help="with --sim: delay the pictures by this much",
    )
    add_common(latency)
    view = add_command(group, "view", "this camera's view against the one of Bridge", _view)
    view.add_argument("--picture", type=Path, help="overlay to write, PNG")
    add_common(view)


@contextmanager
def _stage(arguments: argparse.Namespace, *, by_hand: bool = False) -> Iterator[Any]:
    """Yield the simulated arm, or the running agent's."""
    if arguments.sim:
        from robot_agent.sim.calibration_stage import SimStage

        stage = SimStage(arguments.scene, arguments.seed)
        try:
            yield stage
        finally:
            stage.close()
        return
    from robot_agent.ros.calibration_stage import running_stage

    with running_stage(arguments.namespace, by_hand=by_hand) as running:
        yield running


def _frames(arguments: argparse.Namespace) -> int:
    from robot_agent.calibrate import frames
    from robot_agent.calibrate.gates import Gate, require_gates

    robot, _ = identity_of(arguments)
    with _stage(arguments) as arm:
        verdicts = frames.judge(frames.wiggle(arm))
    gates = [
        Gate(v.axis, float(v.is_right), 1.0, "", f"{v.words}", is_floor=True) for v in verdicts
    ]
    warnings = require_gates("frames", gates, force=arguments.force)
    record = _record(
        "frames",
        (robot, ""),
        {v.axis: v.words for v in verdicts},
        {f"{v.axis}_scale": v.scale for v in verdicts},
        warnings,
    )
    rows = [
        {
            "axis": v.axis,
            "verdict": "right" if v.is_right else "WRONG",
            "scale": v.scale,
            "purity": v.purity,
            "what you must have seen": seen,
            "measured": v.words,
        }
        for v, seen in zip(verdicts, frames.SEEN, strict=True)
    ]
    return save_and_show(arguments, record, (), {"axes": rows})


def _latency(arguments: argparse.Namespace) -> int:
    from robot_agent.calibrate.gates import require_gates
    from robot_agent.calibrate.latency import excitation, solve_latency

    if arguments.planted_ms and not arguments.sim:
        raise ConfigError("--planted-ms: a delay can be planted with --sim only. Leave it out.")
    robot, serial = identity_of(arguments)
    actions = excitation(arguments.seconds, arguments.seed)
    with _stage(arguments) as arm:
        planted = {"camera_delay_s": 1e-3 * arguments.planted_ms} if arguments.sim else {}
        result = solve_latency(arm.record(actions, **planted))
    warnings = require_gates("latency", result.gates, force=arguments.force)
    values = {
        name: 1e3 * getattr(result, name).delay_s
        for name in ("command_to_picture", "command_to_joints", "joints_to_picture")
    }
    residuals = {
        "correlation": result.command_to_picture.correlation,
        "halves_differ_ms": 1e3 * abs(result.halves_s[0] - result.halves_s[1]),
        "period_ms": 1e3 * result.period_s,
    }
    record = _record(
        "latency", (robot, serial), {f"{k}_ms": v for k, v in values.items()}, residuals, warnings
    )
    return save_and_show(arguments, record, result.gates, {"delays_ms": values})


def _workspace(arguments: argparse.Namespace) -> int:
    from robot_agent.calibrate.gates import require_gates
    from robot_agent.calibrate.workspace import solve_workspace
    from robot_agent.core.config import load_config
    from robot_agent.guard.limits import GuardConfig
    from robot_agent.store.durable import replace_file, storage_errors

    robot, _ = identity_of(arguments)
    table, box = _touches(arguments)
    result = solve_workspace(table, box, GuardConfig(), 1e-3 * arguments.clearance_mm)
    warnings = require_gates("workspace", result.gates, force=arguments.force)
    folder = folder_of(arguments)
    limits = folder / LIMITS_NAME
    with storage_errors("writing limits", limits):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(limits, result.limits_yaml().encode())
    load_config(GuardConfig, [limits])  # what the guard would refuse is refused here
    residuals = {
        "plane_rms_mm": 1e3 * result.plane_rms_m,
        "tilt_deg": result.tilt_deg,
        "touches": float(len(table) + len(box)),
    }
    values: dict[str, Any] = {**result.limits(), "plane": list(result.plane)}
    record = _record("workspace", (robot, ""), values, residuals, warnings)
    extra = {"limits": result.limits(), "cut": "; ".join(result.changes) or "nothing"}
    return save_and_show(arguments, record, result.gates, {**extra, "limits_file": limits})


def _touches(arguments: argparse.Namespace) -> "tuple[list[FloatArray], list[FloatArray]]":
    """Return joints at touches of the table and at corners of the box."""
    if arguments.touches is not None:
        return _read_touches(existing_file(arguments.touches, "touches", "Check --touches."))
    if arguments.sim:
        from robot_agent.sim.calibration_proof import simulated_touches

        return simulated_touches(arguments.scene, arguments.seed)
    from robot_agent.calibrate.workspace import MIN_BOX_POINTS, MIN_TABLE_POINTS

    found = []
    with _stage(arguments, by_hand=True) as stage:
        for what, count in (("the table", MIN_TABLE_POINTS + 2), ("a box corner", MIN_BOX_POINTS)):
            found.append([stage.touch(f"Touch {what} ({k + 1} of {count})") for k in range(count)])
    return found[0], found[1]


def _read_touches(path: Path) -> "tuple[list[FloatArray], list[FloatArray]]":
    import numpy as np
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        table, box = (
            [np.array(joints, np.float64) for joints in content[name]] for name in ("table", "box")
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: must hold `table` and `box`, each a list of six joints [rad] ({error!r})."
        ) from error
    return table, box


def _view(arguments: argparse.Namespace) -> int:
    from robot_agent.calibrate.gates import require_gates
    from robot_agent.calibrate.records import load, require_fit
    from robot_agent.calibrate.results import intrinsics_of, matrix_of
    from robot_agent.calibrate.view import compare_view

    robot, serial = identity_of(arguments)
    folder = folder_of(arguments)
    lens, place = (require_fit(load(folder, k), robot, serial) for k in ("camera", "hand-eye"))
    if place.values.get("camera_hash") != lens.hash:
        raise CalibrationError(
            "hand-eye calibration: was made with another lens calibration, must be made with the "
            "present one. Make it again: robot-agent calibrate hand-eye"
        )
    T_base_camera = matrix_of(place, "T_base_camera", (4, 4))  # noqa: N806 - a transform
    intrinsics = intrinsics_of(lens)
    result = compare_view(T_base_camera, intrinsics)
    extra: dict[str, Any] = {"advice": result.advice, "focal_ratio": result.focal_ratio}
    if arguments.picture is not None:
        extra["overlay"] = _write_overlay(arguments, T_base_camera, intrinsics)
    warnings = require_gates("view: no go", result.gates, force=arguments.force)
    residuals = {
        "apart_mm": 1e3 * result.apart_m,
        "apart_deg": result.apart_deg,
        "apart_px": result.apart_px,
    }
    record = _record("view", (robot, serial), {"advice": result.advice}, residuals, warnings)
    return save_and_show(
        arguments, record, result.gates, {**extra, "verdict": "no go" if warnings else "go"}
    )


def _write_overlay(arguments: argparse.Namespace, T_base_camera: Any, intrinsics: Any) -> Path:  # noqa: N803
    import cv2

    from robot_agent.calibrate.view import overlay
    from robot_agent.sim.calibration_proof import reference_picture
    from robot_agent.store.durable import replace_file, storage_errors

    out = new_file(arguments.picture)
    with _stage(arguments) as stage:
        live = stage.look()
    picture = overlay(
        live.image_hwc, reference_picture(live.joints_rad), T_base_camera, intrinsics
    )
    is_drawn, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not is_drawn:
        raise ConfigError(f"{out}: the overlay cannot be encoded. Name a file ending in .png")
    with storage_errors("writing an overlay", out):
        replace_file(out, content.tobytes())
    return out


def _record(
    kind: str,
    who: tuple[str, str],
    values: Mapping[str, Any],
    residuals: Mapping[str, float],
    warnings: tuple[str, ...],
) -> "Record":
    from robot_agent.calibrate.records import MAX_AGE_DAYS, Record

    return Record(
        kind=kind,
        robot=who[0],
        camera=who[1],
        values=values,
        residuals=residuals,
        warnings=warnings,
        max_age_days=MAX_AGE_DAYS[kind],
    )
