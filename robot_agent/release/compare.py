"""How two releases differ, tensor by tensor."""

from dataclasses import dataclass

import numpy as np

from robot_agent.release.bundle import Bundle


@dataclass(frozen=True)
class TensorChange:
    """One tensor that both releases have, or that only one has."""

    name: str
    relative: float
    """Norm of the difference over the norm of the old tensor; infinity where one is missing."""
    changed_share: float
    """Share of the numbers that differ."""
    largest: float
    """Largest difference of one number."""


def compare(new: Bundle, old: Bundle) -> list[TensorChange]:
    """Return every tensor, the most changed first."""
    ours, theirs = new.tensors(), old.tensors()
    found = [_change(name, ours.get(name), theirs.get(name)) for name in {*ours, *theirs}]
    return sorted(found, key=lambda change: (-change.relative, change.name))


def _change(name: str, new: np.ndarray | None, old: np.ndarray | None) -> TensorChange:
    if new is None or old is None or new.shape != old.shape:
        return TensorChange(name, float("inf"), 1.0, float("inf"))
    ours, theirs = new.astype(np.float64), old.astype(np.float64)
    difference = ours - theirs
    norm = float(np.linalg.norm(theirs))
    moved = float(np.linalg.norm(difference))
    relative = moved / norm if norm else (float("inf") if moved else 0.0)
    share = float((difference != 0).mean()) if difference.size else 0.0
    return TensorChange(name, relative, share, float(np.abs(difference).max(initial=0.0)))
