"""The seams: what each part promises to the others. Implementations never inherit from these."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.types import Chunk, Episode, FloatArray, Frame, Observation, SafeAction, Step


class Clock(Protocol):
    """Time that never goes back."""

    def now_ns(self) -> int:
        """Return monotonic nanoseconds."""

    def sleep_until(self, deadline_ns: int) -> None:
        """Return at `deadline_ns` or at once when it has passed."""


class Sensor(Protocol):
    """Pictures and joints, paired."""

    def observe(self) -> Observation:
        """Return the newest observation; StaleObservationError when it is older than its limit."""


class Camera(Protocol):
    """A source of pictures. One thread calls the methods; none waits without a limit."""

    @property
    def intrinsics(self) -> FloatArray:
        """Return the matrix (3, 3) [px] of the stream; zeros when nobody has measured it."""

    @property
    def description(self) -> str:
        """Return what the camera is: name, serial number, connection."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what is not as it should be but does not keep it from streaming, in words."""

    def start(self) -> None:
        """Start streaming; InputError says what is missing or does not fit, and the remedy."""

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next picture, None when none came; InputError when it cannot be used."""

    def stop(self) -> None:
        """Stop streaming; harmless when it did not stream. May hang: call it contained."""

    def reset(self) -> None:
        """Restart the device itself, where it can be; the next `start` finds it again."""


class Policy(Protocol):
    """Observation and instruction to a chunk of actions."""

    @property
    def version(self) -> str:
        """Version of the weights."""

    @property
    def needs(self) -> PolicyNeeds:
        """What the weights were trained with; the robot must provide all of it."""

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode; InputError when the instruction is empty or unknown."""

    def act(self, observation: Observation) -> Chunk:
        """Return the next chunk; finite, (K, 7), the same for the same seed and inputs."""


class Arm(Protocol):
    """The only road to the motors."""

    def command(self, action: SafeAction) -> None:
        """Send one safe action."""

    def stop(self) -> None:
        """Hold where the arm is, in any state."""


class StepListener(Protocol):
    """Hears every step; cannot slow or break the loop."""

    def on_step(self, step: Step) -> None:
        """Take note of an executed step."""


class EpisodeStore(Protocol):
    """Durable episodes: the road from the fast loop to the slow one."""

    def append(self, episode: Episode) -> Path:
        """Make the episode visible whole, or not at all."""

    def load(self, episode_id: str) -> Episode:
        """Read one back; EpisodeFormatError when it is damaged or foreign."""

    def list(self) -> Sequence[str]:
        """Return the ids of committed episodes, oldest first."""


class Autoencoder(Protocol):
    """Pictures to latents and back."""

    def encode(self, images_BCHW: Any) -> Any:
        """RGB in [0, 1] to latents."""

    def decode(self, latents_BCHW: Any) -> Any:
        """Latents to RGB in [0, 1]."""


class WorldModel(Protocol):
    """An imagined environment: action t leads from frame t to frame t+1."""

    def reset(self, observations: Sequence[Observation]) -> NDArray[np.uint8]:
        """Begin a batch of rollouts from real start frames; return frames (B, H, W, 3)."""

    def step(self, actions_BA: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Advance every rollout by one Bridge action (B, 7); return frames (B, H, W, 3)."""


class Judge(Protocol):
    """Scores clips against an instruction."""

    def score(
        self, frames_BTHWC: NDArray[np.uint8], instructions: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return success probabilities (B,) in [0, 1]; NaN means unknown."""


class PolicyLearner(Protocol):
    """A policy that can be sampled with log-probabilities and updated."""

    def update(self, rollouts: Any) -> dict[str, float]:
        """Improve on rollouts of the present weights; refuse rollouts that are too old."""

    def export(self, folder: Path) -> Path:
        """Write a bundle of the present weights."""


class Gate(Protocol):
    """Stands between a candidate and the arm."""

    def judge(self, bundle: Path) -> Any:
        """Return a report of named checks; BundleRejectedError names the first that failed."""


class PolicyLoader(Protocol):
    """Makes a policy from a bundle."""

    def load(self, bundle: Path) -> Policy:
        """Check the manifest before the weights are read."""


class EpisodeSource(Protocol):
    """Runs real (or simulated) episodes with given weights; the learner's view of the robot."""

    def collect(self, bundle: Path, instructions: Iterable[str], count: int) -> Sequence[str]:
        """Run `count` episodes with the weights in `bundle`; return their ids in the store."""
