"""`camera reference|compare`: the picture by which a camera that was moved is noticed."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.commands.options import NAMESPACE, add_command, add_group, add_json, number, whole
from robot_agent.commands.output import show
from robot_agent.core.errors import StorageError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.core.types import ImageArray

_REFERENCE = Path("calibration/view.png")


def register(commands: "Commands") -> None:
    """Add the group."""
    group = add_group(commands, "camera", "the running agent's view and its reference")
    take = add_command(group, "reference", "keep the present view as the reference", _reference)
    take.add_argument("--out", type=Path, default=_REFERENCE, help=f"default {_REFERENCE}")
    compare = add_command(group, "compare", "how far the view is from its reference", _compare)
    compare.add_argument("--reference", type=Path, default=_REFERENCE)
    compare.add_argument("--max-moved-px", type=number(0.5, 100, "px"), default=7.0)
    for parser in (take, compare):
        parser.add_argument("--pictures", type=whole(1, 300), default=15, help="their median")
        parser.add_argument("--namespace", default=NAMESPACE)
        add_json(parser)


def _reference(arguments: argparse.Namespace) -> int:
    import cv2

    from robot_agent.store.durable import replace_file

    picture = _present_view(arguments)
    is_drawn, content = cv2.imencode(".png", picture[:, :, ::-1])
    if not is_drawn:
        raise StorageError(f"{arguments.out}: the picture cannot be coded as PNG. Take it again.")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(arguments.out, content.tobytes())
    height, width = picture.shape[:2]
    results = {"out": str(arguments.out.resolve()), "width": width, "height": height}
    said = (
        f"{arguments.out}: {width}x{height}. In the folder of calibrations it is used from the "
        f"next start on; elsewhere it is the camera node's parameter `reference`: "
        f"{arguments.out.resolve()}"
    )
    show("camera reference", results, as_json=arguments.json, tables=[said])
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from robot_agent.act.view import load_reference, measure_shift, problem

    reference = load_reference(arguments.reference)
    shift = measure_shift(_present_view(arguments), reference)
    trouble = problem(shift, arguments.max_moved_px)
    results = {
        "moved_px": shift.moved_px,
        "likeness": shift.likeness,
        "colour_agreement": shift.colour_agreement,
        "max_moved_px": arguments.max_moved_px,
        "trouble": trouble,
    }
    said = trouble or f"the view is {shift.moved_px:.1f} px from its reference: fit"
    show("camera compare", results, as_json=arguments.json, tables=[said])
    return 1 if trouble else 0


def _present_view(arguments: argparse.Namespace) -> "ImageArray":
    import numpy as np

    from robot_agent.ros.client import AgentClient
    from robot_agent.ros.pictures import take_pictures

    with AgentClient(arguments.namespace) as client:
        pictures = take_pictures(client, arguments.pictures)
    return np.median(pictures, axis=0).astype(np.uint8)
