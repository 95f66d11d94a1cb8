"""Training windows: U + 1 frames and the U actions between them, from several sources at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.errors import InputError
from robot_agent.core.types import ACTION_DIM, Episode, FloatArray, ImageArray, require_array
from robot_agent.store.images import resize_images


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One episode, resized and ready to be cut: action t leads from frame t to frame t + 1."""

    frames: ImageArray
    """(T + 1, h, w, 3) uint8 at the model's size."""
    actions: FloatArray
    """Bridge actions (T, 7)."""
    proprio: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    """Joints and opening (T + 1, P), or (0, 0) when the source has none."""
    instruction: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        """Check that frames, actions and proprioception fit together."""
        require_array(f"{self.name} frames", self.frames, (None, None, None, 3), np.uint8)
        require_array(f"{self.name} actions", self.actions, (len(self.frames) - 1, ACTION_DIM))
        if self.proprio.size and len(self.proprio) != len(self.frames):
            raise InputError(
                f"{self.name}: {len(self.proprio)} rows of proprioception, must be "
                f"{len(self.frames)} like the frames. Drop this episode."
            )

    @property
    def num_steps(self) -> int:
        """Number of actions."""
        return len(self.actions)


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """Windows stacked; the last axes are those of a trajectory."""

    frames: ImageArray
    """(B, U + 1, h, w, 3) uint8."""
    actions: FloatArray
    """(B, U, 7)."""
    proprio: FloatArray
    """(B, U + 1, P); P is 0 when a source has none."""
    instructions: tuple[str, ...]
    sources: NDArray[np.int64]
    """Index of the source of each window (B,)."""


def trajectory_from_episode(episode: Episode, size_px: tuple[int, int]) -> Trajectory:
    """Return an episode with its pictures resized to (height, width); kept in memory as uint8."""
    proprio = np.concatenate([episode.joints_rad, episode.gripper[:, None]], axis=1)
    return Trajectory(
        frames=resize_images(episode.images, size_px),
        actions=np.asarray(episode.actions, np.float64),
        proprio=proprio,
        instruction=episode.instruction,
        name=episode.episode_id,
    )


def window_starts(trajectory: Trajectory, num_actions: int, stride: int = 1) -> range:
    """Return every first frame of a window of `num_actions` actions; empty when it is too long."""
    return range(0, trajectory.num_steps - num_actions + 1, stride)


def stack_windows(
    picks: Sequence[tuple[Trajectory, int]],
    num_actions: int,
    sources: Sequence[int] | None = None,
) -> WindowBatch:
    """Return the windows that begin at the given frames of the given trajectories."""
    U = num_actions  # noqa: N806  # the letter of the formula U actions, U + 1 frames
    has_proprio = all(trajectory.proprio.size for trajectory, _ in picks)
    empty = np.zeros((U + 1, 0))
    return WindowBatch(
        frames=np.stack([t.frames[start : start + U + 1] for t, start in picks]),
        actions=np.stack([t.actions[start : start + U] for t, start in picks]),
        proprio=np.stack(
            [t.proprio[start : start + U + 1] if has_proprio else empty for t, start in picks]
        ),
        instructions=tuple(t.instruction for t, _ in picks),
        sources=np.array(sources if sources is not None else [0] * len(picks), np.int64),
    )


class WindowSource:
    """Trajectories from one place, each window as likely as any other."""

    def __init__(self, trajectories: Sequence[Trajectory], num_actions: int) -> None:
        """Cut `trajectories`; InputError when none is long enough."""
        counts = [len(window_starts(t, num_actions)) for t in trajectories]
        if not sum(counts):
            longest = max((t.num_steps for t in trajectories), default=0)
            raise InputError(
                f"windows: longest of {len(trajectories)} episodes has {longest} actions, must "
                f"have at least {num_actions}. Record longer episodes or ask for shorter windows."
            )
        self._trajectories = trajectories
        self._ends = np.cumsum(counts)

    def __len__(self) -> int:
        """Return the number of different windows."""
        return int(self._ends[-1])

    def pick(self, index: int) -> tuple[Trajectory, int]:
        """Return the trajectory and first frame of window `index`."""
        which = int(np.searchsorted(self._ends, index, side="right"))
        before = int(self._ends[which - 1]) if which else 0
        return self._trajectories[which], index - before


class WindowSampler:
    """Draws batches from several sources in fixed shares; the same seed draws the same."""

    def __init__(
        self,
        sources: Sequence[tuple[Sequence[Trajectory], float]],
        num_actions: int,
        seed: int,
    ) -> None:
        """Mix (trajectories, weight) pairs, for example the new scene 0.7 and the broad set 0.3.

        Raises:
            InputError: A weight is not positive, or a source has no window.
        """
        weights = np.array([weight for _, weight in sources], np.float64)
        if not len(weights) or not (np.isfinite(weights) & (weights > 0)).all():
            raise InputError(
                f"windows: weights {weights.tolist()}, must be positive. Leave out empty sources."
            )
        self._sources = [WindowSource(trajectories, num_actions) for trajectories, _ in sources]
        self._shares = weights / weights.sum()
        self._num_actions = num_actions
        self._rng = np.random.default_rng(seed)

    def sample(self, batch: int) -> WindowBatch:
        """Return `batch` windows."""
        which = self._rng.choice(len(self._sources), size=batch, p=self._shares)
        picks = [
            self._sources[s].pick(int(self._rng.integers(len(self._sources[s])))) for s in which
        ]
        return stack_windows(picks, self._num_actions, which.tolist())
