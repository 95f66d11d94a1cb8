# ruff: noqa: N806 - T_base_camera keeps the name of the formulas
"""Compares what a calibration found with what the simulator knows to be true."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from robot_agent.calibrate.hand_eye import HandEyeResult, pose_error
from robot_agent.calibrate.intrinsics import Intrinsics
from robot_agent.sim.calibration_stage import true_camera, true_camera_of_arm, true_intrinsics
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
