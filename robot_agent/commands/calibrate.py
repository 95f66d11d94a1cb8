"""`calibrate board|camera|hand-eye|...`: where the camera stands and what the arm may do."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands import calibrate_checks
from robot_agent.commands.calibrate_options import (
    add_common,
    folder_of,
    identity_of,
    save_and_show,
)
from robot_agent.commands.options import (
    add_command,
    add_config,
    add_group,
    add_json,
    config_of,
    existing_folder,
    new_file,
    number,
    whole,
)
from robot_agent.commands.output import progress, show
from robot_agent.core.errors import CalibrationError, ConfigError

if TYPE_CHECKING:
    from robot_agent.calibrate.board import Board
    from robot_agent.calibrate.intrinsics import Intrinsics
    from robot_agent.calibrate.records import Record
    from robot_agent.commands.options import Commands
    from robot_agent.core.types import ImageArray


def register(commands: "Commands") -> None:
    """Add the group."""
    group = add_group(commands, "calibrate", "camera, hand-eye, workspace and their checks")
    board = add_command(group, "board", "draw the board to print", _board)
    board.add_argument("--out", type=Path, required=True, help="picture to write, PNG")
    board.add_argument("--dpi", type=number(72, 1200, "dpi"), default=300.0, help="of the printer")
    add_config(board)
    add_json(board)
    camera = add_command(group, "camera", "the lens, from pictures of the board", _camera)
    camera.add_argument("--pictures", type=Path, help="folder of pictures instead of the camera")
    camera.add_argument("--count", type=whole(4, 200), default=20, help="pictures to take")
    add_common(camera)
    hand_eye = add_command(
        group, "hand-eye", "where the camera stands, from guided poses", _hand_eye
    )
    hand_eye.add_argument(
        "--by-hand",
        action="store_true",
        help="move the arm yourself, with its torque off, and press Enter at each pose",
    )
    hand_eye.add_argument("--count", type=whole(8, 100), default=36, help="poses")
    hand_eye.add_argument(
        "--link-optical",
        type=_offset,
        default=(0.0, 0.0, 0.0),
        metavar="X,Y,Z",
        help="where the driver's TF has camera_color_optical_frame in camera_link [m]",
    )
    add_common(hand_eye)
    calibrate_checks.register(group)


def board_of(arguments: argparse.Namespace) -> "Board":
    """Return the board that files and settings describe."""
    from robot_agent.calibrate.board import Board, BoardConfig

    return Board(config_of(BoardConfig, arguments))


def _board(arguments: argparse.Namespace) -> int:
    import cv2

    from robot_agent.store.durable import replace_file, storage_errors

    board, out = board_of(arguments), new_file(arguments.out)
    picture = board.draw(arguments.dpi / 0.0254)
    is_drawn, content = cv2.imencode(out.suffix or ".png", picture)
    if not is_drawn:
        raise ConfigError(
            f"{out}: cannot be written as '{out.suffix}'. Name a file ending in .png"
        )
    with storage_errors("writing a board", out):
        replace_file(out, content.tobytes())
    (width_m, height_m), config = board.config.sheet_m, board.config
    results = {
        "file": out,
        "size_mm": [1e3 * width_m, 1e3 * height_m],
        "square_mm": 1e3 * config.square_m,
        "marker_mm": 1e3 * config.marker_m,
        "dpi": arguments.dpi,
    }
    words = (
        f"{out}: print it at 100 %, {1e3 * width_m:.1f} x {1e3 * height_m:.1f} mm, and glue it on "
        f"a flat plate. Measure the squares: {1e3 * config.square_m:.2f} mm each. If the printer "
        f"scaled them, say so in every calibration: --set square_m=... --set marker_m=..."
    )
    show("calibrate board", results, as_json=arguments.json, tables=[words])
    return 0


def _camera(arguments: argparse.Namespace) -> int:
    from robot_agent.calibrate.gates import require_gates
    from robot_agent.calibrate.intrinsics import solve_intrinsics
    from robot_agent.calibrate.results import camera_record

    (robot, serial), board = identity_of(arguments), board_of(arguments)
    pictures = _pictures(arguments, board)
    size_px = (pictures[0].shape[1], pictures[0].shape[0])
    if any(picture.shape != pictures[0].shape for picture in pictures):
        raise CalibrationError("camera: pictures differ in size, must be alike. Sort them.")
    result = solve_intrinsics([board.find(picture) for picture in pictures], size_px)
    warnings = require_gates("camera calibration", result.gates, force=arguments.force)
    record = camera_record(result, robot, serial, warnings)
    extra: dict[str, Any] = {}
    if arguments.sim:
        from robot_agent.sim.calibration_proof import lens_error

        extra["error"] = lens_error(arguments.scene, result.intrinsics)
    return save_and_show(arguments, record, result.gates, extra)


def _pictures(arguments: argparse.Namespace, board: "Board") -> "Sequence[ImageArray]":
    """Return pictures of a board that is shown to the camera."""
    if arguments.sim:
        from robot_agent.sim.calibration_stage import held_views

        return held_views(arguments.count, arguments.scene, arguments.seed)
    if arguments.pictures is not None:
        from robot_agent.calibrate.pictures import read_folder

        folder = existing_folder(arguments.pictures, "a folder of pictures", "Check --pictures.")
        return read_folder(folder)
    from robot_agent.ros.calibration_stage import shown_views

    with progress("show the board everywhere, near and far, tilted") as say:
        return shown_views(arguments.namespace, board, arguments.count, say)


def _hand_eye(arguments: argparse.Namespace) -> int:
    from robot_agent.calibrate.gates import require_gates
    from robot_agent.calibrate.hand_eye import solve_hand_eye
    from robot_agent.calibrate.records import load, require_fit
    from robot_agent.calibrate.results import hand_eye_record, intrinsics_of

    (robot, serial), board = identity_of(arguments), board_of(arguments)
    lens = require_fit(load(folder_of(arguments), "camera"), robot, serial)
    intrinsics = intrinsics_of(lens)
    if arguments.sim:
        from robot_agent.sim.calibration_stage import SimStage

        stage = SimStage(arguments.scene, arguments.seed)
        try:
            samples = _collect(arguments, stage, board, intrinsics)
        finally:
            stage.close()
    else:
        from robot_agent.ros.calibration_stage import running_stage

        with running_stage(arguments.namespace, by_hand=arguments.by_hand) as ros_stage:
            samples = _collect(arguments, ros_stage, board, intrinsics)
    result = solve_hand_eye(samples, intrinsics)
    warnings = require_gates("hand-eye calibration", result.gates, force=arguments.force)
    record = hand_eye_record(result, robot, serial, lens.hash, warnings)
    extra: dict[str, Any] = {"methods": result.rows, "best": result.best.method}
    if arguments.sim:
        from robot_agent.sim.calibration_proof import hand_eye_errors

        extra["methods"] = hand_eye_errors(arguments.scene, result)
    extra["static_transform"] = _save_for_others(arguments, record)
    return save_and_show(arguments, record, result.gates, extra)


def _collect(
    arguments: argparse.Namespace, stage: Any, board: "Board", intrinsics: "Intrinsics"
) -> Any:
    from robot_agent.calibrate.poses import guided_poses
    from robot_agent.calibrate.stage import collect
    from robot_agent.guard.limits import GuardConfig

    poses = guided_poses(intrinsics, board.config, GuardConfig(), count=arguments.count)
    with progress("hand-eye poses") as say:
        return collect(stage, poses, board, say)


def _offset(text: str) -> tuple[float, ...]:
    """Convert three numbers with commas between."""
    convert = number(-1.0, 1.0, "m")
    parts = tuple(convert(part) for part in text.split(","))
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"'{text}' must be three numbers, such as 0,0.015,0")
    return parts


def _save_for_others(arguments: argparse.Namespace, record: "Record") -> str:
    """Write the file that easy_handeye2 reads; return the command that publishes the static TF."""
    import numpy as np

    from robot_agent.calibrate.easy_handeye import (
        T_LINK_OPTICAL_ROTATION,
        calib_text,
        static_transform,
    )
    from robot_agent.calibrate.results import matrix_of
    from robot_agent.core.geometry import pose
    from robot_agent.store.durable import replace_file, storage_errors

    folder = folder_of(arguments)
    T_base_camera = matrix_of(record, "T_base_camera", (4, 4))  # noqa: N806 - a transform
    text = calib_text(T_base_camera, "robot_agent", record.robot)
    with storage_errors("writing a calibration", folder):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(folder / "robot_agent.calib", text.encode())
    T_link_optical = pose(T_LINK_OPTICAL_ROTATION, np.array(arguments.link_optical))  # noqa: N806
    found = static_transform(T_base_camera, T_link_optical, record.robot)
    place = {**found["translation"], **{f"q{k}": v for k, v in found["rotation"].items()}}
    numbers = " ".join(f"--{name} {value:.6f}" for name, value in place.items())
    return (
        f"ros2 run tf2_ros static_transform_publisher {numbers} "
        f"--frame-id {found['parent']} --child-frame-id {found['child']}"
    )
