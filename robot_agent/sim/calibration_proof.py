# ruff: noqa: N806 - T_base_camera keeps the name of the formulas
"""Compares what a calibration found with what the simulator knows to be true."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from robot_agent.calibrate.hand_eye import HandEyeResult, pose_error
from robot_agent.calibrate.intrinsics import Intrinsics
from robot_agent.core import wx250s
from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.sim import snapshot
from robot_agent.sim.calibration_stage import (
    SimStage,
    true_camera,
    true_camera_of_arm,
    true_intrinsics,
)
from robot_agent.sim.household import scene_named
from robot_agent.sim.world import SimWorld


def lens_error(scene: str, found: Intrinsics) -> Mapping[str, float]:
    """Return how far a lens is from the true one: focal length, centre, worst pixel."""
    true = true_intrinsics(SimWorld(scene_named(scene)))
    width, height = true.size_px
    x, y = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 7))
    rays = (np.stack([x.ravel(), y.ravel()], axis=1) - true.K[:2, 2]) / true.K[0, 0]
    p = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
    apart_px = np.linalg.norm(found.project(p) - true.project(p), axis=1)
    return {
        "focal_percent": 100.0 * abs(found.K[0, 0] / true.K[0, 0] - 1.0),
        "centre_px": float(np.linalg.norm(found.K[:2, 2] - true.K[:2, 2])),
        "worst_px": float(apart_px.max()),
    }


def hand_eye_errors(scene: str, result: HandEyeResult) -> list[Mapping[str, Any]]:
    """Return each method's row with its error against the truth.

    `error_*` is in the frame that the arm's own encoders define, in which it is commanded;
    `world_*` is against the simulator's base, which differs by the zero of the waist.
    """
    world = SimWorld(scene_named(scene))
    truths = {"error": true_camera_of_arm(world), "world": true_camera(world)}
    rows: list[Mapping[str, Any]] = []
    for row, one in zip(result.rows, result.candidates, strict=True):
        errors: dict[str, float] = {}
        for name, T_true in truths.items():
            apart_m, apart_deg = pose_error(one.T_base_camera, T_true)
            errors |= {f"{name}_mm": 1e3 * apart_m, f"{name}_deg": apart_deg}
        rows.append({**row, **errors})
    return rows


def simulated_touches(scene: str, seed: int) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return measured joints at six touches of a table, tool 35 mm high, and two box corners.

    The simulated tool is lowered until its true height is that of the touch; what the encoders
    read there carries their errors.
    """
    table = [(x, y, 0.035) for x in (0.20, 0.35) for y in (-0.15, 0.0, 0.15)]
    corners = [(0.15, -0.18, 0.05), (0.34, 0.16, 0.20)]
    stage = SimStage(scene, seed)
    try:
        touched = []
        for at_m in (*table, *corners):
            stage.move_to(wx250s.pose_at(np.array(at_m)))
            error_m = stage.world.tool_m - np.array(at_m)
            stage.move_to(wx250s.pose_at(np.array(at_m) - error_m))
            touched.append(stage.world.joints_rad)
    finally:
        stage.close()
    return touched[: len(table)], touched[len(table) :]


def reference_picture(joints_rad: FloatArray) -> ImageArray:
    """Return the Bridge view of an empty table with the arm at measured joints (6,)."""
    world = SimWorld(replace(scene_named("calibration"), board=""))
    try:
        qpos = snapshot.take(world)
        qpos[world.joint_columns] = joints_rad
        snapshot.show(world, qpos)
        return world.render()
    finally:
        world.close()
