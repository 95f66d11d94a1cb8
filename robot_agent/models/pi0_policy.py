"""pi0 of transformers as a `Policy`: chunks by flow matching, from noise that the seed gives.

Facts: arXiv 2410.24164 and transformers' own model; nothing is run that a folder brings along.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import PI0ForConditionalGeneration

from robot_agent.core.bridge_action import bridge_state
from robot_agent.core.config import require_range
from robot_agent.core.errors import BundleRejectedError, ConfigError, InputError
from robot_agent.core.policy_needs import BRIDGE_STATE, COLOR_CAMERA, PolicyNeeds
from robot_agent.core.types import ACTION_DIM, Chunk, FloatArray, ImageArray, Observation
from robot_agent.models.moments import Moments
from robot_agent.models.scaling import to_unit

Encode = Callable[[str], Sequence[int]]
"""Gemma's tokenizer without the start of a sequence."""
START_TOKEN = 2
PROCESSOR_NAME = "processor_config.json"


@dataclass(frozen=True, kw_only=True)
class Pi0PolicyConfig:
    """How the network is used."""

    cameras: tuple[str, ...] = (COLOR_CAMERA,)
    """Pictures in the order of training."""
    execute: int = 5
    """Actions of a chunk that are executed; the network gives more (50)."""
    steps: int = 10
    """Steps of the flow; ten in the paper."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("execute", self.execute, 1, 50)
        require_range("steps", self.steps, 1, 100)


class Pi0Policy:
    """Chunks of Bridge actions. One thread at a time."""

    def __init__(
        self,
        network: Any,
        encode: Encode,
        statistics: tuple[Moments, Moments],
        *,
        version: str,
        config: Pi0PolicyConfig | None = None,
    ) -> None:
        """Take a `PI0ForConditionalGeneration`, its tokenizer, and statistics of state and action.

        Raises:
            ConfigError: More actions shall be executed than the network gives, or the statistics
                are of another robot.
        """
        self._network, self._encode, self._version = network.eval(), encode, version
        self._states, self._actions = statistics
        self._actions.require_actions()
        self._config = config or Pi0PolicyConfig()
        given = network.config.chunk_size
        if self._config.execute > given:
            raise ConfigError(f"execute={self._config.execute} is over the network's {given}.")
        self._generator = torch.Generator().manual_seed(0)
        self._words: list[int] = []
        self._chunk_id = 0

    @property
    def version(self) -> str:
        """Version of the weights."""
        return self._version

    @property
    def statistics(self) -> Moments:
        """What turns the network's numbers into Bridge actions."""
        return self._actions

    @property
    def needs(self) -> PolicyNeeds:
        """What these weights were trained with."""
        return PolicyNeeds(
            cameras=self._config.cameras,
            state=BRIDGE_STATE,
            statistics=self._actions.name,
            chunk=self._config.execute,
        )

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode; InputError when the instruction is empty."""
        words = " ".join(instruction.split())
        if not words:
            raise InputError("instruction is empty. Say what the robot shall do.")
        self._words = [START_TOKEN, *self._encode(f"{words}\n")]
        self._generator.manual_seed(seed)

    @torch.no_grad()
    def act(self, observation: Observation) -> Chunk:
        """Return the next actions (K, 7); InputError when the network gives no numbers."""
        return self._chunk_of(self._flow(observation, self._noise()), observation)

    @torch.no_grad()
    def act_along(
        self, observation: Observation, actions: FloatArray, weights: FloatArray
    ) -> Chunk:
        """Return the next actions (K, 7), bound to what is planned already by inpainting.

        At every time t of the flow the bound actions are drawn to where the flow from the noise
        to them would be, t noise + (1 - t) actions, each by its weight; the others are made to
        fit by the network. A weight of 1 keeps an action as it is.

        Args:
            observation: What is seen.
            actions: Planned Bridge actions (N, 7) from the first one on.
            weights: How much each of them binds (N,), 0 to 1.
        """
        noise, num = self._noise(), min(len(actions), self._network.config.chunk_size)
        known = torch.zeros_like(noise[:, :num])
        known[..., :ACTION_DIM] = torch.from_numpy(self._actions.normalize(actions[:num]))
        share = torch.from_numpy(weights[:num]).to(noise)[None, :, None]
        start = noise[:, :num].clone()

        def bind(module: Any, given: Any, named: dict[str, Any]) -> None:
            del module, given
            now, at = named["noise"][:, :num], named["timestep"].to(noise)[:, None, None]
            now += share * (at * start + (1 - at) * known - now)

        hook = self._network.register_forward_pre_hook(bind, with_kwargs=True)
        try:
            unit = self._flow(observation, noise)
        finally:
            hook.remove()
        unit[:, :num] += share * (known - unit[:, :num])
        return self._chunk_of(unit, observation)

    def _noise(self) -> Tensor:
        settings = self._network.config
        shape = (1, settings.chunk_size, settings.max_action_dim)
        return torch.randn(shape, generator=self._generator).to(self._like)

    def _flow(self, observation: Observation, noise: Tensor) -> Tensor:
        if not self._words:
            raise InputError("policy: no instruction yet. Call reset with one first.")
        unit: Tensor = self._network.sample_actions(
            **self.prepare(observation), noise=noise, num_steps=self._config.steps
        )
        return unit

    def _chunk_of(self, unit_1KA: Tensor, observation: Observation) -> Chunk:
        unit = unit_1KA[0, : self._config.execute, :ACTION_DIM]
        if not unit.isfinite().all():
            raise InputError(
                f"{self._version}: the network's output is not finite. Nothing is executed; go "
                f"back with: robot-agent weights roll-back"
            )
        self._chunk_id += 1
        return Chunk(
            actions=self._actions.unnormalize(unit.double().cpu().numpy()),
            weights_version=self._version,
            chunk_id=self._chunk_id,
            observation_stamp_ns=observation.stamp_ns,
        )

    def prepare(self, observation: Observation) -> dict[str, Tensor]:
        """Return what the network takes of an observation: one row of each."""
        settings = self._network.config
        vision = settings.vlm_config.vision_config
        pictures = [
            pad_to_square(
                observation.image_hwc if name == COLOR_CAMERA else observation.view(name),
                vision.image_size,
            )
            for name in self._config.cameras
        ]
        tokens = (vision.image_size // vision.patch_size) ** 2 * len(pictures)
        ids = [settings.vlm_config.image_token_id] * tokens + self._words
        measured = bridge_state(observation.joints_rad, observation.gripper)
        state = torch.zeros(1, settings.max_state_dim)
        state[0, :ACTION_DIM] = torch.from_numpy(self._states.normalize(measured))
        device = self._like.device
        return {
            "input_ids": torch.tensor([ids], device=device),
            "attention_mask": torch.ones(1, len(ids), dtype=torch.long, device=device),
            "pixel_values": torch.stack(pictures)[None].to(self._like),
            "pixel_attention_mask": torch.ones(1, len(pictures), dtype=torch.bool, device=device),
            "state": state.to(self._like),
        }

    @property
    def _like(self) -> Tensor:
        """A weight: its type and device are those of every input."""
        weight: Tensor = self._network.action_out_proj.weight
        return weight


def pad_to_square(image_hwc: ImageArray, size_px: int) -> Tensor:
    """Return (3, S, S) in [-1, 1]: fitted by bicubic, centred on black, as pi0 was trained."""
    height, width = image_hwc.shape[:2]
    scale = size_px / max(height, width)
    fitted = (max(1, int(width * scale)), max(1, int(height * scale)))
    resized = Image.fromarray(image_hwc).resize(fitted, Image.Resampling.BICUBIC)
    canvas = np.zeros((size_px, size_px, 3), np.uint8)
    top, left = (size_px - fitted[1]) // 2, (size_px - fitted[0]) // 2
    canvas[top : top + fitted[1], left : left + fitted[0]] = np.asarray(resized)
    return to_unit(canvas) * 2.0 - 1.0


def load_pi0_policy(
    folder: Path,
    encode: Encode,
    *,
    version: str,
    statistics_name: str = "bridge_orig",
    config: Pi0PolicyConfig | None = None,
) -> Pi0Policy:
    """Return the policy of a folder in transformers' layout; only JSON and safetensors are read.

    Raises:
        ConfigError: The folder is no pi0, or its processor states no statistics.
        BundleRejectedError: Lists tensors that are missing, extra, misshapen, or not finite.
    """
    network = load_pi0(folder)
    statistics = read_moments(folder / PROCESSOR_NAME, statistics_name)
    return Pi0Policy(network, encode, statistics, version=version, config=config)


def load_pi0(folder: Path) -> Any:
    """Return the network of a folder in transformers' layout; errors as `load_pi0_policy`."""
    try:
        network, report = PI0ForConditionalGeneration.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # so that all of them are listed below, not the first
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: is no pi0 in safetensors ({error}).") from error
    wrong = [
        f"{what.replace('_keys', '')}: {', '.join(map(str, sorted(report[what])))}"
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if report[what]
    ]
    wrong += [f"not finite: {n}" for n, p in network.named_parameters() if not p.isfinite().all()]
    if wrong:
        raise BundleRejectedError(folder.name, "tensors", "; ".join(wrong), "those of pi0, finite")
    return network


def read_moments(path: Path, name: str) -> tuple[Moments, Moments]:
    """Return the statistics of state and action that pi0's processor keeps."""
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        state, action = (
            Moments(name, tuple(stated[f"{part}_mean"]), tuple(stated[f"{part}_std"]))
            for part in ("state", "actions")
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: states no state_mean, state_std, actions_mean and actions_std ({error!r}). "
            f"Save the processor with the statistics of the training data."
        ) from error
    return state, action
