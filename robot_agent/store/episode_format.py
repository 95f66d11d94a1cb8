"""What `episode.json` says, its schema version, and the names inside an episode folder."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.store.strict_json import canonical_json, parse_json_object

SCHEMA = 1
"""Version of the episode format; readers refuse newer and migrate older."""
INFO_NAME, RECORDING_NAME = "episode.json", "episode.mcap"
ACTION_SPACE = "bridge_delta_7d"
"""Bridge action: metres and radians in base_link axes, gripper 1 = open."""
OUTCOMES = ("success", "failure", "abort", "unknown")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class ForeignEpisodeError(EpisodeFormatError):
    """A folder that is not ours to judge: of another program or of a newer schema."""


@dataclass(frozen=True, kw_only=True)
class EpisodeStart:
    """What is known when an episode begins; it opens the recording, so a salvage knows it too."""

    instruction: str
    episode_id: str = ""
    """Empty lets the store choose a new one."""
    scene: str = ""
    calibration_hash: str = ""
    action_space: str = ACTION_SPACE
    config: Mapping[str, Any] = field(default_factory=dict)
    """The resolved configuration of the run."""


@dataclass(frozen=True, kw_only=True)
class EpisodeInfo:
    """Everything about a committed episode but its pictures and numbers."""

    id: str
    instruction: str
    scene: str
    outcome: str
    judged_by: str
    num_steps: int
    image_size: tuple[int, int]
    """(height, width) [px]."""
    image_codec: str
    jpeg_quality: int
    """1 to 100; 0 for a lossless codec."""
    weights_versions: tuple[str, ...]
    """Version of the weights behind each step."""
    controllers: tuple[str, ...]
    """Who was in control at each step."""
    created: str
    """Wall-clock time of the commit, UTC; for people only."""
    action_space: str = ACTION_SPACE
    calibration_hash: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    has_stamps: bool = True
    """Whether the stamps were measured; without, they are spaced by the control period."""
    recording_sha256: str = ""
    recording_bytes: int = 0
    order: int = 0
    """Commit number in its store, for oldest first without trusting the wall clock."""
    note: str = ""
    """Said by recovery about a salvaged episode; empty otherwise."""


def require_episode_id(episode_id: str) -> str:
    """Return a name that is safe as a folder name, or raise InputError."""
    if not _ID.fullmatch(episode_id):
        raise InputError(
            f"episode id {episode_id!r}: must be 1 to 100 letters, digits, '_', '.' or '-', "
            f"beginning with a letter or digit. Choose another id."
        )
    return episode_id


def require_outcome(outcome: str) -> str:
    """Return one of the known outcomes, or raise InputError."""
    if outcome not in OUTCOMES:
        raise InputError(f"outcome {outcome!r}: must be one of {', '.join(OUTCOMES)}.")
    return outcome


def info_to_json(info: EpisodeInfo) -> bytes:
    """Return the bytes of `episode.json`; a checksum over the rest guards every field."""
    content = {"schema": SCHEMA, **dataclasses.asdict(info)}
    return canonical_json({**content, "checksum": _checksum(content)})


def info_from_json(content: bytes, name: str) -> EpisodeInfo:
    """Return what `episode.json` of the episode `name` says.

    Raises:
        EpisodeFormatError: Not ours, of a newer schema, damaged, or of another episode.
    """
    try:
        fields = parse_json_object(content)
    except ValueError as error:
        raise EpisodeFormatError(
            f"{name}/{INFO_NAME}: {error}. Quarantine this episode."
        ) from error
    schema = fields.pop("schema", None)
    if not isinstance(schema, int):
        raise ForeignEpisodeError(
            f"{name}/{INFO_NAME}: schema is {schema!r}, must be {SCHEMA}. "
            f"This is no episode of ours: move the folder away."
        )
    if schema > SCHEMA:
        raise ForeignEpisodeError(
            f"{name}: schema version {schema}, this program reads up to {SCHEMA}. "
            f"Update robot_agent, or export the episode with the version that recorded it."
        )
    checksum = fields.pop("checksum", None)
    if checksum != _checksum({"schema": schema, **fields}):
        raise EpisodeFormatError(
            f"{name}/{INFO_NAME}: checksum is {checksum}, must match the content. "
            f"The file was damaged or edited: quarantine this episode."
        )
    return _build_info(fields, name)


def _build_info(fields: dict[str, Any], name: str) -> EpisodeInfo:
    for key in ("image_size", "weights_versions", "controllers"):
        fields[key] = tuple(fields.get(key, ()))
    known = {f.name for f in dataclasses.fields(EpisodeInfo)}
    if set(fields) != known:
        differing = sorted(set(fields) ^ known)
        raise EpisodeFormatError(
            f"{name}/{INFO_NAME}: fields {differing} are missing or unknown. "
            f"Quarantine this episode."
        )
    if fields["id"] != name:
        raise EpisodeFormatError(
            f"{name}/{INFO_NAME}: holds episode {fields['id']!r}, must be {name!r}. "
            f"Was the folder renamed? Rename it back."
        )
    info = EpisodeInfo(**fields)
    if info.action_space != ACTION_SPACE:
        raise ForeignEpisodeError(
            f"{name}: actions are '{info.action_space}', must be '{ACTION_SPACE}'. It is of "
            f"another arm or convention: move it to a store of its own."
        )
    return info


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content)).hexdigest()
