"""The board is found where it is, by old and new OpenCV alike."""

import cv2
import numpy as np
import pytest

from robot_agent.calibrate.board import Board, BoardConfig, LegacyApi, NewApi
from robot_agent.calibrate.intrinsics import (
    Intrinsics,
    board_pose,
    reprojection_px,
    solve_intrinsics,
)
from robot_agent.core.config import build
from robot_agent.core.errors import CalibrationError, ConfigError
from robot_agent.core.geometry import pose, rotation_from_vector

PX_PER_M = 4000.0
LENS = Intrinsics(
    np.array([[600.0, 0.0, 322.0], [0.0, 602.0, 241.0], [0.0, 0.0, 1.0]]), np.zeros(5), (640, 480)
)
HAS_NEW = hasattr(cv2.aruco, "CharucoDetector")


def photograph(board, T_camera_board, lens=LENS):
    """Draw the board as a pinhole camera sees it, from a flat picture by its homography."""
    flat = board.draw(PX_PER_M)
    rim_m = (np.array(board.config.sheet_m) - np.array(board.config.size_m)) / 2
    to_board = np.array(
        [
            [1 / PX_PER_M, 0, 0.5 / PX_PER_M - rim_m[0]],
            [0, 1 / PX_PER_M, 0.5 / PX_PER_M - rim_m[1]],
        ]
    )
    H = lens.K @ T_camera_board[:3, [0, 1, 3]] @ np.vstack([to_board, [0, 0, 1]])
    large = np.diag([4.0, 4.0, 1.0]) @ np.array([[1, 0, 0.375], [0, 1, 0.375], [0, 0, 1]]) @ H
    size = (4 * lens.size_px[0], 4 * lens.size_px[1])
    drawn = cv2.warpPerspective(flat, large, size, borderValue=90)
    gray = cv2.resize(drawn, lens.size_px, interpolation=cv2.INTER_AREA)
    return np.repeat(gray[:, :, None], 3, axis=2)


def place(rng, depth_m=0.4):
    middle = np.array([*BoardConfig().size_m, 0.0]) / 2
    R = rotation_from_vector(rng.uniform(-0.5, 0.5, 3))
    p = np.array([rng.uniform(-0.06, 0.06), rng.uniform(-0.04, 0.04), depth_m])
    return pose(R, p - R @ middle)


def test_every_corner_is_found_and_its_pose_is_right(rng):
    board, T = Board(), place(rng)
    corners = board.find(photograph(board, T))
    assert corners.count == 24
    found, rms_px = board_pose(corners, LENS)
    assert rms_px < 0.1
    assert np.linalg.norm(found[:3, 3] - T[:3, 3]) < 5e-4
    assert np.abs(found[:3, :3] - T[:3, :3]).max() < 4e-3
    shifted = found.copy()
    shifted[0, 3] += 0.01
    assert reprojection_px(corners, LENS, shifted) > 10.0


def test_a_lens_is_found_from_pictures_of_the_board(rng):
    board = Board()
    views = [board.find(photograph(board, place(rng, rng.uniform(0.28, 0.42)))) for _ in range(14)]
    result = solve_intrinsics(views, (640, 480))
    assert result.rms_px < 0.15
    assert abs(result.intrinsics.K[0, 0] / 600.0 - 1.0) < 0.004
    assert np.abs(result.intrinsics.K[:2, 2] - LENS.K[:2, 2]).max() < 2.0


def test_views_without_tilt_or_too_few_break_gates(rng):
    board, T = Board(), place(rng)
    views = [board.find(photograph(board, T))] * 6
    broken = [gate.name for gate in solve_intrinsics(views, (640, 480)).gates if not gate.is_kept]
    assert {"usable pictures", "spread of the board's tilt"} <= set(broken)
    with pytest.raises(CalibrationError, match=r"found in 0 of 5 pictures.*at least 4"):
        solve_intrinsics([board.find(np.zeros((480, 640, 3), np.uint8))] * 5, (640, 480))


def test_a_board_that_opencv_changed_is_refused():
    with pytest.raises(ConfigError, match="rows=6 is even, must be odd"):
        build(BoardConfig, {"rows": 6}, "board.yaml")
    with pytest.raises(ConfigError, match=r"marker_m=0\.5 is outside"):
        build(BoardConfig, {"marker_m": 0.5}, "board.yaml")


# ruff: noqa: N802, N815 - the names are those of OpenCV 4.6
class OldAruco:
    """The interface of OpenCV 4.6, with the promises of its documentation, on the new one."""

    DICT_4X4_50 = cv2.aruco.DICT_4X4_50

    @staticmethod
    def getPredefinedDictionary(name):
        return cv2.aruco.getPredefinedDictionary(name)

    @staticmethod
    def CharucoBoard_create(columns, rows, square_m, marker_m, dictionary):
        board = cv2.aruco.CharucoBoard((columns, rows), square_m, marker_m, dictionary)

        class OldBoard:
            chessboardCorners = np.asarray(board.getChessboardCorners())
            new = board

            @staticmethod
            def draw(size, marginSize=0):
                return board.generateImage(size, marginSize=marginSize)

        return OldBoard

    @staticmethod
    def detectMarkers(gray, dictionary):
        return cv2.aruco.ArucoDetector(dictionary).detectMarkers(gray)

    @staticmethod
    def interpolateCornersCharuco(markers, ids, gray, board):
        detector = cv2.aruco.CharucoDetector(board.new)
        corners, corner_ids, _, _ = detector.detectBoard(gray, None, None, markers, ids)
        return (0 if corner_ids is None else len(corner_ids)), corners, corner_ids


@pytest.mark.skipif(
    not HAS_NEW, reason="compares both interfaces, and this OpenCV has the old one"
)
def test_the_old_interface_finds_what_the_new_one_finds(rng):
    config = BoardConfig()
    new, old = Board(config, NewApi(config)), Board(config, LegacyApi(config, OldAruco))
    picture = photograph(new, place(rng))
    one, two = new.find(picture), old.find(picture)
    assert one.count == two.count == 24
    assert np.abs(one.pixels - two.pixels).max() < 0.2
    assert np.allclose(one.points_m, two.points_m)
    assert old.find(np.zeros_like(picture)).count == 0
    assert np.array_equal(new.draw(2000.0), old.draw(2000.0))
