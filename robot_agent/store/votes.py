"""What a judge said before: a file of JSON lines that survives a crash and a new start."""

import json
import math
import os
from collections import UserDict
from pathlib import Path

from robot_agent.core.errors import ConfigError
from robot_agent.store.durable import storage_errors


class VoteFile(UserDict[str, float]):
    """Votes in [0, 1], or NaN for an answer without a verdict, by fingerprint of their question.

    A line that a crash cut short is dropped; its question is asked again. One process at a time.
    """

    def __init__(self, path: Path) -> None:
        """Read the file, made when missing; ConfigError when it holds anything else."""
        super().__init__()
        self._path = path
        with storage_errors("opening the judge's memory", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
        for number, line in enumerate(content[:whole].splitlines(), 1):
            self.data.update([_parsed(line, path, number)])

    def __setitem__(self, key: str, vote: float) -> None:
        """Keep a vote; StorageError when the disk refuses."""
        line = json.dumps([key, None if math.isnan(vote) else vote]) + "\n"
        with storage_errors("remembering a vote", self._path), self._path.open("ab") as file:
            file.write(line.encode())
        self.data[key] = vote


def _parsed(line: bytes, path: Path, number: int) -> tuple[str, float]:
    try:
        key, vote = json.loads(line)
        score = math.nan if vote is None else float(vote)
        if not isinstance(key, str) or not (math.isnan(score) or 0.0 <= score <= 1.0):
            raise ValueError("no vote")
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path}: line {number} is {line[:60]!r}, must be [fingerprint, vote in [0, 1] or "
            f"null]. Move the file away; its questions are then asked again."
        ) from error
    return key, score
