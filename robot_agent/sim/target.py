# ruff: noqa: N803, N806 - T_base_board and its kin keep the names of the formulas
"""The calibration board in the simulated world: held by the gripper or by a person."""

from functools import cache
from typing import Any

import numpy as np

from robot_agent.calibrate.board import Board, BoardConfig
from robot_agent.calibrate.poses import held_board
from robot_agent.core.geometry import vector_from_rotation
from robot_agent.core.types import FloatArray
from robot_agent.sim.scenes import Scene

BOARD = BoardConfig()
_PX_PER_M = 6000.0
_TOOL_X_M = 0.093575
"""The tool point in the frame of wrist_rotate."""


def assets_mjcf(scene: Scene) -> str:
    """Return the board's surface, or nothing where there is no board."""
    if not scene.board:
        return ""
    height_px, width_px = _pattern().shape
    (w, h), (sheet_w, sheet_h) = BOARD.size_m, BOARD.sheet_m
    x, y = (sheet_w - w) / 2, (sheet_h - h) / 2
    # In the board's frame: x right, y down, z away from the viewer. Counted clockwise for a viewer
    # on the side of -z, so that this is the front.
    corners = ((-x, -y), (w + x, -y), (w + x, h + y), (-x, h + y))
    vertices = " ".join(f"{a} {b} 0" for a, b in corners)
    return (
        f'<texture name="board" type="2d" builtin="flat" width="{width_px}" height="{height_px}"/>'
        f'<material name="board" texture="board" specular="0" shininess="0"/>'
        f'<mesh name="board" inertia="shell" vertex="{vertices}" texcoord="0 0 1 0 1 1 0 1" '
        f'face="0 2 1 0 3 2"/>'
    )


def held_mjcf(scene: Scene) -> str:
    """Return the board as a part of the hand, in the frame of wrist_rotate."""
    if scene.board != "gripper":
        return ""
    T_tool_board = held_board(BOARD)
    return _geom(T_tool_board[:3, 3] + np.array([_TOOL_X_M, 0.0, 0.0]), T_tool_board[:3, :3])


def free_mjcf(scene: Scene) -> str:
    """Return the board as a body of its own that `place` moves."""
    if scene.board != "hand":
        return ""
    return f'<body name="board" mocap="true">{_geom(np.zeros(3), np.eye(3))}</body>'


def fill(model: Any, scene: Scene) -> None:
    """Draw the pattern on the board of a compiled model."""
    if scene.board:
        first = int(model.texture("board").adr[0])
        flat = np.repeat(_pattern()[:, :, None], 3, axis=2).ravel()
        model.tex_data[first : first + flat.size] = flat


def place(data: Any, T_base_board: FloatArray) -> None:
    """Put a board that is held before the camera."""
    data.mocap_pos[0] = T_base_board[:3, 3]
    data.mocap_quat[0] = _q_wxyz(T_base_board[:3, :3])


def _geom(p_m: FloatArray, R: FloatArray) -> str:
    pos, turn = (" ".join(map(str, numbers)) for numbers in (p_m, _q_wxyz(R)))
    return (
        f'<geom name="board" type="mesh" mesh="board" material="board" pos="{pos}" quat="{turn}"/>'
    )


def _q_wxyz(R: FloatArray) -> FloatArray:
    w = vector_from_rotation(R)
    half = float(np.linalg.norm(w)) / 2.0
    return np.concatenate([[np.cos(half)], 0.5 * np.sinc(half / np.pi) * w])


@cache
def _pattern() -> Any:
    return Board(BOARD).draw(_PX_PER_M)
