"""Options and output that every `calibrate` command shares."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import add_config, add_json, add_namespace, add_seed
from robot_agent.commands.output import show, table
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.calibrate.records import Record
    from robot_agent.commands.options import Parser

FOLDER, SIM_FOLDER = Path("calibration"), Path("runs/calibration")
SIM_ROBOT = "simulation"


def add_common(parser: "Parser") -> None:
    """Add what every calibration needs to know: of what, whence, whereto."""
    parser.add_argument("--sim", action="store_true", help="in simulation, in this process")
    parser.add_argument(
        "--scene", default="calibration", help="simulated scene; calibration@real plays the robot"
    )
    add_namespace(parser)
    parser.add_argument(
        "--camera", default="", metavar="SERIAL", help="serial number of the camera"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help=f"folder of calibrations (default {FOLDER}, {SIM_FOLDER} with --sim)",
    )
    parser.add_argument("--force", action="store_true", help="save what broke a gate, and say so")
    add_seed(parser)
    add_config(parser)
    add_json(parser)


def folder_of(arguments: argparse.Namespace) -> Path:
    """Return where calibrations lie."""
    return Path(arguments.out or (SIM_FOLDER if arguments.sim else FOLDER))


def identity_of(arguments: argparse.Namespace) -> tuple[str, str]:
    """Return the names of robot and camera; ConfigError when a real camera is not named."""
    if arguments.sim:
        return SIM_ROBOT, SIM_ROBOT
    if not arguments.camera:
        raise ConfigError(
            "--camera is empty, must be the camera's serial number, so that another one is "
            "noticed. Read it with: rs-enumerate-devices -s, or from the sticker."
        )
    return str(arguments.namespace), str(arguments.camera)


def save_and_show(
    arguments: argparse.Namespace,
    record: "Record",
    gates: Sequence[Any],
    extra: Mapping[str, Any],
) -> int:
    """Write a record, print its residuals, gates and what else was found; return the status."""
    from robot_agent.calibrate.records import save

    path = save(record, folder_of(arguments))
    results = {
        "file": path,
        "hash": record.hash,
        "residuals": dict(record.residuals),
        "values": dict(record.values),
        "gates": {g.name: {"value": g.value, "limit": g.limit, "kept": g.is_kept} for g in gates},
        **extra,
    }
    rows = [(g.name, g.value, g.limit, g.unit, "kept" if g.is_kept else "BROKEN") for g in gates]
    tables: list[Any] = (
        [table("Gates", ("what", "value", "limit", "unit", ""), rows)] if rows else []
    )
    for name, value in extra.items():
        tables.append(_shown(name, value))
    show(
        f"calibrate {record.kind}",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[*tables, *record.warnings, f"saved as {path}, sha256 {record.hash[:12]}"],
    )
    return 0


def _shown(name: str, value: Any) -> Any:
    """Return a table for rows or pairs, and a line for anything else."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return table(name, list(value[0]), [list(row.values()) for row in value])
    if isinstance(value, Mapping):
        return table(name, ("what", "value"), value.items())
    return f"{name}: {value}"
