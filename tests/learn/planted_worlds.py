"""World models that are wrong in a known way, around one that is sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from robot_agent.core.types import Observation


class PlantedWorld:
    """Changes the actions before the inner model sees them, or the pictures after it drew them."""

    def __init__(
        self,
        inner: object,
        actions: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda now, _before: now,
        pictures: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda drawn, _first: drawn,
    ) -> None:
        self._inner, self._actions, self._pictures = inner, actions, pictures
        self._before = self._first = np.zeros(0)

    def reset(self, observations: Sequence[Observation]) -> np.ndarray:
        self._before = np.zeros(0)
        self._first = self._inner.reset(observations)
        return self._first

    def step(self, actions_BA: np.ndarray) -> np.ndarray:
        before = self._before if len(self._before) else at_rest(actions_BA)
        self._before = actions_BA
        return self._pictures(self._inner.step(self._actions(actions_BA, before)), self._first)

    @property
    def tool_states(self) -> np.ndarray:
        return self._inner.tool_states


def at_rest(actions: np.ndarray) -> np.ndarray:
    still = actions.copy()
    still[:, :6] = 0.0
    return still


def mirrored(axis: int) -> dict[str, Callable]:
    def mirror(now: np.ndarray, _before: np.ndarray) -> np.ndarray:
        other = now.copy()
        other[:, axis] = -other[:, axis] if axis < 6 else 1.0 - other[:, axis]
        return other

    return {"actions": mirror}


def blurred(sigma_px: float) -> dict[str, Callable]:
    def blur(drawn: np.ndarray, _first: np.ndarray) -> np.ndarray:
        return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma_px) for frame in drawn])

    return {"pictures": blur}


PLANTED: dict[str, dict[str, Callable]] = {
    "dx reversed": mirrored(0),
    "dy reversed": mirrored(1),
    "dz reversed": mirrored(2),
    "gripper reversed": mirrored(6),
    "actions ignored": {"actions": lambda now, _before: at_rest(now)},
    "actions late by one": {"actions": lambda _now, before: before},
    "frozen picture": {"pictures": lambda _drawn, first: first},
    "blurred": blurred(1.0),
    "slow": {"actions": lambda now, _before: np.hstack([0.4 * now[:, :6], now[:, 6:]])},
}
