"""Finished trials as JSON lines: nothing is lost or repeated when a comparison is killed."""

import fcntl
import hashlib
import json
import os
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, get_args, get_origin, get_type_hints

from robot_agent.core.config import to_plain
from robot_agent.core.errors import ConfigError, StorageError
from robot_agent.evaluate.trial_runner import Outcome, Place
from robot_agent.sim.physics import physics_named
from robot_agent.sim.scenes import Scene
from robot_agent.store.durable import storage_errors

SCHEMA_VERSION = 2
"""Version 1 knew no aborts, no guard events, no judge and only the simulator in process."""
TrialKey = tuple[str, str, str, int, int, Place, str]
"""Fingerprints of weights and scene, instruction, seed, longest length, place, judge."""


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One attempt at a trial that has ended, and everything that it depended on."""

    policy: str
    """Name in the comparison."""
    weights: str
    """Fingerprint of the policy's files."""
    scene: str
    scene_parameters: str
    """Fingerprint of the scene's parameters."""
    instruction: str
    seed: int
    max_steps: int
    outcome: Outcome
    steps: int
    place: Place = "sim"
    judge: str = ""
    """Fingerprint of the learned judge that scored it; empty without one."""
    attempt: int = 1
    """Counts from 1; a further one follows an abort."""
    safety_events: int | None = None
    """Steps that the guard changed, refused or held; None when nobody counted."""
    reason: str = ""
    """Why it was aborted."""
    judge_score: float | None = None
    episode_id: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> TrialKey:
        """What makes two trials the same trial; the name of the policy does not."""
        what = (self.weights, self.scene_parameters, self.instruction, self.seed, self.max_steps)
        return (*what, self.place, self.judge)

    @property
    def task(self) -> str:
        """Scene and instruction, `scene: instruction`."""
        return f"{self.scene}: {self.instruction}"

    @property
    def success(self) -> bool:
        """Whether it succeeded; an abort did not, and is in no rate."""
        return self.outcome == "success"


class TrialJournal:
    """A file of trials that one process at a time appends to; each line is on disk on return."""

    def __init__(self, path: Path) -> None:
        """Open or make the file, cut off a line that a crash left unfinished, and read the rest.

        Raises:
            StorageError: Another process writes to it, or the disk refuses.
            ConfigError: A line is not a trial.
        """
        self._path = path
        with storage_errors("opening the journal of trials", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("a+b")
        try:
            _lock(self._file, path)
            self._records = {record.key: record for record in _read(self._file, path)}
        except BaseException:
            self._file.close()
            raise

    def find(self, key: TrialKey) -> TrialRecord | None:
        """Return the newest attempt of this key, or None."""
        return self._records.get(key)

    def append(self, record: TrialRecord) -> None:
        """Add a finished trial; StorageError when it cannot be made durable."""
        line = json.dumps(asdict(record), sort_keys=True) + "\n"
        with storage_errors("writing a trial", self._path):
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        self._records[record.key] = record

    def __enter__(self) -> "TrialJournal":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file, which gives up its lock."""
        self._file.close()


def fingerprint_of_files(path: Path) -> str:
    """Return a digest of a file, or of every file below a folder with its name.

    Raises:
        ConfigError: There is nothing, or it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            content = file.read_bytes()
            digest.update(f"{file.relative_to(path.parent).parts[1:]} {len(content)} ".encode())
            digest.update(content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check the path.") from error
    if not files:
        raise ConfigError(f"{path}: an empty folder is no policy. Check the path.")
    return digest.hexdigest()[:16]


def fingerprint_of_scene(scene: Scene) -> str:
    """Return a digest of the scene's parameters and of its physics, whatever its name."""
    parameters = {key: value for key, value in to_plain(scene).items() if key != "name"}
    parameters["physics"] = to_plain(physics_named(scene.physics))
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()[:16]


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StorageError(
            f"{path}: another process writes to it, must be one at a time. Wait for it, or name "
            f"another file."
        ) from error


def _read(file: IO[bytes], path: Path) -> list[TrialRecord]:
    file.seek(0)
    content = file.read()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        file.truncate(whole)
    lines = content[:whole].splitlines()
    return [_parsed(line, path, number) for number, line in enumerate(lines, 1)]


def _parsed(line: bytes, path: Path, number: int) -> TrialRecord:
    try:
        values = _migrated(json.loads(line), path, number)
    except ValueError:
        values = None
    hints = get_type_hints(TrialRecord)
    is_trial = isinstance(values, dict) and values.keys() == hints.keys()
    if not is_trial or not all(_fits(values[name], hints[name]) for name in hints):
        raise ConfigError(
            f"{path}: line {number} is not a trial, must hold {', '.join(hints)}. Name another "
            f"file or remove this one; its trials are then run again."
        )
    return TrialRecord(**values)


def _migrated(values: Any, path: Path, number: int) -> Any:
    """Return what a line of an older version means today; ConfigError for a newer one."""
    if not isinstance(values, dict):
        return values
    version = values.get("schema_version", 1)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ConfigError(
            f"{path}: line {number} has schema_version {version}, must be at most "
            f"{SCHEMA_VERSION}. Read it with the newer robot_agent that wrote it."
        )
    if version == 1 and isinstance(values.get("success"), bool):
        rest = {key: value for key, value in values.items() if key != "success"}
        fresh = {f.name: f.default for f in fields(TrialRecord) if f.default is not MISSING}
        return {**fresh, **rest, "outcome": "success" if values["success"] else "failure"}
    return values


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    return type(value) in (get_args(hint) or (hint,))
