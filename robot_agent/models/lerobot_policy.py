"""Any policy of LeRobot as a `Policy`, by what it can do: LeRobot itself is optional.

LeRobot's policies take a batch of named tensors and give a chunk of actions; the names are those
of their training data. The adapter imports LeRobot only where a folder is loaded.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from robot_agent.core.bridge_action import bridge_state
from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.core.policy_needs import BRIDGE_STATE, COLOR_CAMERA, PolicyNeeds
from robot_agent.core.types import ACTION_DIM, Chunk, Observation
from robot_agent.models.moments import Moments
from robot_agent.models.scaling import resize_squashed, to_unit


class ChunkModel(Protocol):
    """What the adapter asks of a LeRobot policy."""

    def reset(self) -> None:
        """Begin an episode."""

    def predict_action_chunk(self, batch: dict[str, Any], /) -> Tensor:
        """Return actions (1, K, 7), scaled as in training."""


@dataclass(frozen=True, kw_only=True)
class LeRobotConfig:
    """How observations become LeRobot's batch."""

    cameras: Mapping[str, str] = field(
        default_factory=lambda: {COLOR_CAMERA: "observation.images.image_0"}
    )
    """Our camera to LeRobot's feature."""
    image_px: int = 256
    """Edge of the square that pictures are squashed to, as Bridge squashes 4:3."""
    execute: int = 5
    """Actions of a chunk that are executed."""
    uses_state: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("image_px", self.image_px, 16, 1024, "px")
        require_range("execute", self.execute, 1, 50)


class LeRobotPolicy:
    """Chunks of a LeRobot policy in Bridge units. One thread at a time."""

    def __init__(
        self,
        model: ChunkModel,
        statistics: tuple[Moments, Moments],
        *,
        version: str,
        config: LeRobotConfig | None = None,
    ) -> None:
        """Take a loaded model, and statistics of state and action."""
        if not callable(getattr(model, "predict_action_chunk", None)):
            raise ConfigError(
                f"{type(model).__name__}: has no predict_action_chunk, must be a policy of "
                f"LeRobot 0.4 or newer. Train it again with one."
            )
        self._model, self._version = model, version
        self._states, self._actions = statistics
        self._actions.require_actions()
        self._config = config or LeRobotConfig()
        self._instruction, self._seed, self._chunk_id = "", 0, 0

    @property
    def version(self) -> str:
        """Version of the weights."""
        return self._version

    @property
    def statistics(self) -> Moments:
        """What turns the model's numbers into Bridge actions."""
        return self._actions

    @property
    def needs(self) -> PolicyNeeds:
        """What these weights were trained with."""
        return PolicyNeeds(
            cameras=tuple(self._config.cameras),
            state=BRIDGE_STATE if self._config.uses_state else "",
            statistics=self._actions.name,
            chunk=self._config.execute,
        )

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode; InputError when the instruction is empty."""
        if not instruction.strip():
            raise InputError("instruction is empty. Say what the robot shall do.")
        self._instruction, self._seed = instruction.strip(), seed
        self._model.reset()

    @torch.no_grad()
    def act(self, observation: Observation) -> Chunk:
        """Return the next actions (K, 7); InputError when the model's answer is malformed."""
        if not self._instruction:
            raise InputError("policy: no instruction yet. Call reset with one first.")
        self._chunk_id += 1
        # LeRobot draws from torch's global generator: a stream of our own, and theirs put back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed * 1_000_003 + self._chunk_id)
            unit = self._model.predict_action_chunk(self.batch(observation))
        if unit.dim() != 3 or unit.shape[0] != 1 or unit.shape[2] != ACTION_DIM:
            raise InputError(
                f"{self._version}: gives actions {tuple(unit.shape)}, must be (1, K, 7). "
                f"The policy is of another robot."
            )
        if unit.shape[1] < self._config.execute or not unit.isfinite().all():
            raise InputError(
                f"{self._version}: gives {unit.shape[1]} actions, "
                f"{'all finite' if unit.isfinite().all() else 'not all finite'}, must be "
                f"{self._config.execute} or more, finite. Nothing is executed."
            )
        return Chunk(
            actions=self._actions.unnormalize(unit[0, : self._config.execute].double().numpy()),
            weights_version=self._version,
            chunk_id=self._chunk_id,
            observation_stamp_ns=observation.stamp_ns,
        )

    def batch(self, observation: Observation) -> dict[str, Any]:
        """Return LeRobot's batch of one observation."""
        batch: dict[str, Any] = {"task": [self._instruction]}
        for name, feature in self._config.cameras.items():
            picture = observation.image_hwc if name == COLOR_CAMERA else observation.view(name)
            batch[feature] = to_unit(resize_squashed(picture, self._config.image_px))[None]
        if self._config.uses_state:
            measured = bridge_state(observation.joints_rad, observation.gripper)
            batch["observation.state"] = torch.from_numpy(
                self._states.normalize(measured)
            ).float()[None]
        return batch


def load_lerobot_model(folder: Path, kind: str) -> ChunkModel:
    """Return the LeRobot policy `kind` (act, smolvla, ...) with the weights of a local folder.

    Raises:
        ConfigError: LeRobot is not installed, or it cannot read the folder.
    """
    try:
        factory = importlib.import_module("lerobot.policies.factory")
    except ImportError as error:
        raise ConfigError(
            f"LeRobot is not installed ({error}); it brings its own torch. Install it in a second "
            f"environment: pip install lerobot, and run this policy from there."
        ) from error
    try:
        model: ChunkModel = factory.get_policy_class(kind).from_pretrained(
            str(folder), local_files_only=True
        )
    except Exception as error:
        raise ConfigError(f"{folder}: LeRobot cannot read it as '{kind}' ({error}).") from error
    return model
