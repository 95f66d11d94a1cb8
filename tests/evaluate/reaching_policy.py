"""A policy without weights, for worker processes: its file says how far, and when to die."""

import os
from pathlib import Path

import numpy as np

from robot_agent.core.errors import BundleRejectedError
from robot_agent.core.types import Chunk, Observation


class ReachingPolicy:
    """Moves by a fixed step towards -x or +x; some seeds, by their parity, go the other way."""

    version = "reaching"

    def __init__(self, words: list[str]):
        self._words, self._sign, self._chunks = words, 1.0, 0

    def reset(self, instruction: str, seed: int) -> None:
        if "die" in self._words:
            os._exit(7)
        self._sign = -1.0 if seed % 2 else 1.0
        self._chunks = 0

    def act(self, observation: Observation) -> Chunk:
        self._chunks += 1
        actions = np.zeros((5, 7))
        actions[:, 0] = self._sign * float(self._words[0])
        actions[:, 6] = 1.0
        return Chunk(actions, self.version, self._chunks, observation.stamp_ns)


def load_reaching(path: Path) -> ReachingPolicy:
    words = path.read_text("utf-8").split()
    if not words:
        raise BundleRejectedError(path.name, "size", 0, "at least 1 word")
    return ReachingPolicy(words)
