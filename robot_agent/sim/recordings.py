"""Recordings of scripted hands: arrays, their file, and what is in them."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.sim.tasks import tasks_of

WORDS = ("cell", "kind")
"""Fields that are words, not arrays."""
MISS_STEPS = 4
"""An episode with this many steps of a near miss holds one."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Episodes of equal length as arrays; action t leads from image t to image t+1."""

    images: ImageArray
    """(N, T + 1, 64, 64, 3) uint8."""
    states: FloatArray
    """Bridge states (N, T + 1, 7)."""
    actions: FloatArray
    """Executed (sent) Bridge actions (N, T, 7)."""
    labels: FloatArray
    """Clean Bridge actions (N, T, 7), what a demonstrator would have done."""
    openings: FloatArray
    """True opening of the drawer (N, T + 1), 0 closed to 1 fully open; 0 without a drawer."""
    objects: FloatArray
    """True middle of the loose object (N, T + 1, 3) in base_link [m]; 0 without one."""
    successes: NDArray[np.uint8]
    """Whether a moment solves each task of the cell (N, T + 1, K), in the order of `tasks_of`."""
    misses: NDArray[np.uint8]
    """Steps of a hand that misses on purpose, near its aim (N, T)."""
    tasks: NDArray[np.int64]
    """Index into the cell's tasks (N,)."""
    valid: NDArray[np.int64]
    """Steps of each episode that belong to it (N,); demonstrations end after success."""
    cell: str = "table"
    kind: str = "demonstration"
    """`demonstration`, or `play`, whose episodes have no task."""


def save_recording(path: Path, recording: Recording) -> None:
    """Write a recording as safetensors that appears by one rename; its words are metadata.

    So are the instructions behind `tasks`: who learns from it need not know the simulator.
    """
    arrays = {name: np.ascontiguousarray(value) for name, value in vars(recording).items()}
    for name in WORDS:
        del arrays[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(".tmp")
    words = {name: getattr(recording, name) for name in WORDS}
    instructions = [task.instruction for task in tasks_of(recording.cell)]
    save_file(arrays, staging, metadata={**words, "instructions": json.dumps(instructions)})
    staging.replace(path)


def open_recording(path: Path) -> Recording:
    """Read a recording; InputError when the file is none, or of an older version."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            words = {name: metadata.get(name, "") for name in WORDS}
            names = [field.name for field in fields(Recording) if field.name not in words]
            arrays = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: is no recording of this version: {error}. "
            f"Make one with: robot-agent demos collect"
        ) from error
    return Recording(**arrays, **words)


def summarise(recording: Recording) -> dict[str, Any]:
    """Return counts, lengths and speeds of a recording; speeds in m/s over valid steps."""
    is_valid = np.arange(recording.actions.shape[1]) < recording.valid[:, None]
    speeds = 5.0 * np.linalg.norm(recording.actions[is_valid][:, :3], axis=1)
    held_misses = recording.misses.sum(axis=1) >= MISS_STEPS
    return {
        "kind": recording.kind,
        "cell": recording.cell,
        "episodes": len(recording.images),
        "steps": int(recording.valid.sum()),
        "near_miss_share": float(held_misses.mean()),
        "speed_mean_mps": float(speeds.mean()),
        "speed_p95_mps": float(np.percentile(speeds, 95)),
        "tasks": {
            task.name: _of_task(recording, index)
            for index, task in enumerate(tasks_of(recording.cell))
        },
    }


def _of_task(recording: Recording, index: int) -> dict[str, Any]:
    """Return counts of a task's episodes; of play, where any task may be solved, of all."""
    is_own = (recording.tasks == index) | (recording.kind == "play")
    rows = np.flatnonzero(is_own)
    solved = recording.successes[:, :, index] > 0
    ends = solved[rows, recording.valid[rows]]
    lengths = recording.valid[rows]
    return {
        "episodes": len(rows),
        "solved_at_end": int(ends.sum()),
        "solved_at_any_time": int(solved[rows].any(axis=1).sum()),
        "solved_frame_share": float(solved[rows].mean()) if len(rows) else 0.0,
        "length_median": float(np.median(lengths)) if len(rows) else 0.0,
        "length_longest": int(lengths.max()) if len(rows) else 0,
    }


def contact_sheet(recording: Recording, rows: int = 12, columns: int = 12) -> ImageArray:
    """Return episodes as rows of pictures, evenly in time, (64 rows, 64 columns, 3)."""
    chosen = np.linspace(0, len(recording.images) - 1, min(rows, len(recording.images)))
    lines = []
    for row in chosen.astype(int):
        moments = np.linspace(0, recording.valid[row], columns).astype(int)
        lines.append(np.concatenate(list(recording.images[row, moments]), axis=1))
    return np.concatenate(lines, axis=0)
