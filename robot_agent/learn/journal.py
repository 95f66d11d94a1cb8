"""The run folder of an adaptation: what each round did, durable, so that it can resume."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save
from torch import nn

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.store.durable import replace_file, storage_errors

_OPEN = "open_round.json"


@dataclass(kw_only=True)
class RoundRecord:
    """One round, as it goes into the report."""

    index: int
    version_before: str
    version_after: str = ""
    """Empty when the gate or the robot refused, or as long as it does not act."""
    not_acting: str = ""
    """Version that passed the gate and did not act in the end: refused, or still in the shadow."""
    episodes: list[str] = field(default_factory=list)
    real_outcomes: list[bool | None] = field(default_factory=list)
    """Of `episodes`, by the held-out judge or a person; None where nobody could say."""
    gaps: list[str] = field(default_factory=list)
    trust: dict[str, Any] = field(default_factory=dict)
    trusted: bool = False
    imitated: dict[str, float] = field(default_factory=dict)
    """Last metrics of the supervised steps on corrections; empty when there were none."""
    curve: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""
    """Why practice ended before its iterations."""
    imagined_before: dict[str, float] = field(default_factory=dict)
    """Closed-loop success in the finetuned imagination with the weights that ran the episodes."""
    imagined_after: dict[str, float] = field(default_factory=dict)
    """Closed-loop success in imagination per task with the new weights."""
    imagined_trials: int = 0
    """Rollouts behind each rate of `imagined_before` and `imagined_after`; 0 in older records."""
    held_out: dict[str, float] = field(default_factory=dict)
    """Success of candidate and base by a judge in a world that never trained them, their standard
    error and rollouts; empty in older records and when the gate refused."""
    gate: list[dict[str, object]] = field(default_factory=list)
    seconds: float = 0.0
    """From the start of the adaptation to the swap."""
    final_episodes: list[str] = field(default_factory=list)
    final_outcomes: list[bool | None] = field(default_factory=list)
    final_gaps: list[str] = field(default_factory=list)


class RunFolder:
    """Files of one adaptation; every one appears whole."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, made when missing."""
        self.folder = folder
        with storage_errors("making a run folder", folder):
            folder.mkdir(parents=True, exist_ok=True)

    def save_round(self, record: RoundRecord) -> None:
        """Write a finished round."""
        self._write(f"round_{record.index}.json", _to_json(record))

    def save_open(self, record: RoundRecord) -> None:
        """Write what a round that is not finished has of the robot: its episodes."""
        self._write(_OPEN, _to_json(record))

    def load_open(self, index: int, acting: str) -> RoundRecord | None:
        """Return the round that was cut short, when it is that of `index`.

        Other weights that act by now are those that it made: its episodes are not theirs.
        """
        path = self.folder / _OPEN
        record = _from_json(path) if path.exists() else None
        if record is None or (record.index, record.version_before) != (index, acting):
            return None
        return record

    def load_rounds(self) -> list[RoundRecord]:
        """Return the finished rounds in order."""
        records: list[RoundRecord] = []
        while (path := self.folder / f"round_{len(records)}.json").exists():
            records.append(_from_json(path))
        return records

    def strike_out(self, records: Sequence[RoundRecord], acting: str) -> None:
        """Take back the newest version when the robot refused it, or has not let it act yet."""
        if records and records[-1].version_after not in ("", acting):
            records[-1].not_acting, records[-1].version_after = records[-1].version_after, ""
            self.save_round(records[-1])

    def save_worlds(self, worlds: Sequence[nn.Module], index: int) -> None:
        """Keep the finetuned members of a round."""
        for member, world in enumerate(worlds):
            tensors = {k: v.contiguous() for k, v in world.state_dict().items()}
            self._write(f"world_{index}_{member}.safetensors", save(tensors))

    def save_clip(self, frames: NDArray[np.uint8], name: str) -> None:
        """Keep the frames of an episode as one tall picture, for the report."""
        if not len(frames):
            return
        path = self.folder / f"{name}.png"
        with storage_errors("writing a clip", path):
            Image.fromarray(np.concatenate(list(frames))).save(path)

    def _write(self, name: str, content: bytes) -> None:
        path = self.folder / name
        with storage_errors("writing a run", path):
            replace_file(path, content)


def _to_json(record: RoundRecord) -> bytes:
    return json.dumps(dataclasses.asdict(record), indent=1).encode()


def _from_json(path: Path) -> RoundRecord:
    try:
        return RoundRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise EpisodeFormatError(
            f"{path}: is no record of a round ({error}). Move it away and resume."
        ) from error
