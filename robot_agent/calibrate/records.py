"""Calibration files: what was found, of which robot, when, how well; refused when unfit."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from robot_agent.core.clock import days_since, wall_stamp
from robot_agent.core.errors import CalibrationError
from robot_agent.store.durable import replace_file, storage_errors
from robot_agent.store.strict_json import canonical_json

SCHEMA = 1
MAX_AGE_DAYS: Mapping[str, float] = {
    "camera": 365.0,
    "hand-eye": 30.0,
    "workspace": 365.0,
    "frames": 365.0,
    "latency": 180.0,
    "view": 30.0,
}
"""Age limit of each kind: lenses stay, camera arms get bumped."""
NEEDED = ("camera", "hand-eye")
"""Kinds without which no episode is recorded on a robot."""
_MAX_FUTURE_DAYS = 1.0


@dataclass(frozen=True, kw_only=True)
class Record:
    """One calibration."""

    kind: str
    robot: str
    """Name of the robot, with the serial number of its USB adapter where that is known."""
    camera: str
    """Serial number of the camera; empty where none took part."""
    values: Mapping[str, Any]
    """What was found, in plain numbers."""
    residuals: Mapping[str, float]
    """How well, each name with its unit."""
    warnings: tuple[str, ...] = ()
    """Gates that it broke and was saved nevertheless."""
    created: str = field(default_factory=wall_stamp)
    """Wall-clock time, UTC."""
    max_age_days: float = 0.0
    """0 for no limit."""

    @property
    def content(self) -> dict[str, Any]:
        """Everything but the hash, in plain values."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "robot": self.robot,
            "camera": self.camera,
            "created": self.created,
            "max_age_days": self.max_age_days,
            "values": dict(self.values),
            "residuals": dict(self.residuals),
            "warnings": list(self.warnings),
        }

    @property
    def hash(self) -> str:
        """SHA-256 of the content; what episodes name it by."""
        return hashlib.sha256(canonical_json(self.content)).hexdigest()


def path_of(folder: Path, kind: str) -> Path:
    """Return the file of a kind."""
    return folder / f"{kind.replace('-', '_')}.yaml"


def save(record: Record, folder: Path) -> Path:
    """Write a record to its file, whole or not at all, and return the path."""
    path = path_of(folder, record.kind)
    text = yaml.safe_dump({**record.content, "sha256": record.hash}, sort_keys=False)
    with storage_errors("writing a calibration", path):
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode())
    return path


def load(folder: Path, kind: str) -> Record:
    """Return the record of a kind.

    Raises:
        CalibrationError: It is missing, damaged, edited, of another kind or of a newer schema.
    """
    path, again = path_of(folder, kind), f"Make it again: robot-agent calibrate {kind}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CalibrationError(
            f"{path}: no such file, must be the calibration of this robot. "
            f"Make it: robot-agent calibrate {kind}"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CalibrationError(f"{path}: cannot be read ({error}). {again}") from error
    if not isinstance(content, dict) or content.get("kind") != kind:
        raise CalibrationError(f"{path}: is no calibration of kind '{kind}'. {again}")
    found, schema = content.pop("sha256", None), content.pop("schema", None)
    if schema != SCHEMA:
        raise CalibrationError(
            f"{path}: schema is {schema}, this program reads {SCHEMA}. Update it, or: {again}"
        )
    try:
        record = Record(**{**content, "warnings": tuple(content.get("warnings", ()))})
        is_whole = record.hash == found
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{path}: fields are wrong ({error}). {again}") from error
    if not is_whole:
        raise CalibrationError(
            f"{path}: sha256 is {found}, must match the content. It was edited or damaged. {again}"
        )
    return record


def require_fit(record: Record, robot: str, camera: str) -> Record:
    """Return `record` if it is of this robot and camera and not too old.

    An empty `robot` or `camera` accepts any; a record without a camera fits every camera.

    Raises:
        CalibrationError: Old, of another robot or camera, or made in the future.
    """
    again = f"Make it again: robot-agent calibrate {record.kind}"
    for what, has, wants in (("robot", record.robot, robot), ("camera", record.camera, camera)):
        if wants and has and has != wants:
            raise CalibrationError(
                f"{record.kind} calibration: of {what} '{has}', must be of '{wants}'. Was the "
                f"{what} exchanged, or the folder copied from another robot? {again}"
            )
    age_days = days_since(record.created)
    if age_days < -_MAX_FUTURE_DAYS:
        raise CalibrationError(
            f"{record.kind} calibration: made {-age_days:.0f} days in the future, limit "
            f"{_MAX_FUTURE_DAYS:g}. Set the clock of this computer. {again}"
        )
    if record.max_age_days and age_days > record.max_age_days:
        raise CalibrationError(
            f"{record.kind} calibration: is {age_days:.0f} days old, limit "
            f"{record.max_age_days:g} days. {again}"
        )
    return record


@dataclass(frozen=True)
class Seal:
    """What an episode says about the calibration behind it."""

    hash: str
    """SHA-256 over the hashes of the records."""
    residuals: Mapping[str, float]
    """Of all records, as `kind.name_unit`."""
    kinds: Mapping[str, str]
    """Each kind with its own hash."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `episode.json`."""
        return {
            "hash": self.hash, "residuals": dict(self.residuals), "kinds": dict(self.kinds)
        }  # fmt: skip


def seal_of(records: Mapping[str, Record]) -> Seal:
    """Return the seal of a set of records."""
    kinds = {kind: record.hash for kind, record in sorted(records.items())}
    return Seal(
        hash=hashlib.sha256(canonical_json(kinds)).hexdigest(),
        residuals={
            f"{kind}.{name}": value
            for kind, record in sorted(records.items())
            for name, value in record.residuals.items()
        },
        kinds=kinds,
    )


def require_set(folder: Path, robot: str, camera: str) -> Seal:
    """Return the seal of a folder whose calibrations are all there, fresh and of this robot.

    What is not in `NEEDED` may be missing, and counts when it is there.

    Raises:
        CalibrationError: See `load` and `require_fit`.
    """
    optional = [kind for kind in MAX_AGE_DAYS if kind not in NEEDED]
    kinds = [*NEEDED, *(kind for kind in optional if path_of(folder, kind).is_file())]
    return seal_of({kind: require_fit(load(folder, kind), robot, camera) for kind in kinds})
