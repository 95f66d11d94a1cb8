"""Cosmos 3 as a `WorldModel`: forward dynamics of the Bridge embodiment through diffusers.

The weights are the user's to download. The model draws a chunk of pictures at once from one
picture and the actions of the chunk; a step therefore draws the chunk so far, resting after the
newest action, and the last picture of a full chunk begins the next one.

Axis letters: B batch, K actions of a chunk, A action (7), H W C picture.
Source: diffusers 0.42, `Cosmos3OmniPipeline` and `CosmosActionCondition`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.core.types import ACTION_DIM, FloatArray, ImageArray, Observation
from robot_agent.models.cosmos_actions import (
    DOMAIN,
    cosmos_actions,
    require_bridge_actions,
    tool_of,
)
from robot_agent.models.device import device_of, require_device_memory
from robot_agent.models.scaling import resize_squashed

_RATE_HZ = 5.0
_FRAMES_A_LATENT = 4
"""The video autoencoder makes one latent of four pictures; chunks are whole latents."""


@dataclass(frozen=True, kw_only=True)
class CosmosConfig:
    """How pictures are drawn."""

    picture_px: int = 256
    """Side of the square pictures that it is shown and draws."""
    chunk: int = 16
    """Actions of a chunk, as in training; a multiple of 4."""
    steps: int = 35
    """Denoising steps; fewer are faster and worse."""
    guidance: float = 1.0
    """Toward the prompt; 1 needs one pass instead of two."""
    prompt: str = ""
    """What the robot is doing, in words."""
    tier: Literal[256, 480, 704, 720] = 256
    """Resolution that the model conditions on."""
    view: Literal["ego_view", "third_person_view"] = "ego_view"
    """As Bridge was labelled in training."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("picture_px", self.picture_px, 16, 1024)
        require_range("chunk", self.chunk, _FRAMES_A_LATENT, 64)
        require_range("steps", self.steps, 1, 1000)
        require_range("guidance", self.guidance, 0.0, 20.0)
        if self.chunk % _FRAMES_A_LATENT:
            raise ValueError(f"chunk={self.chunk} is not a multiple of {_FRAMES_A_LATENT}")


@dataclass(eq=False)
class _Rollout:
    """One imagined episode: where its chunk began, and what was done since."""

    image_hwc: ImageArray
    T_base_tool: FloatArray
    actions: list[FloatArray]
    chunk: int = 0


class CosmosImagination:
    """A batch of imagined episodes, drawn one by one; action t leads from frame t to frame t + 1.

    All rollouts share the noise of a chunk: they differ by their start and their actions alone.
    """

    def __init__(self, pipeline: Any, config: CosmosConfig | None = None, seed: int = 0) -> None:
        """Take a `Cosmos3OmniPipeline` whose transformer was trained with actions."""
        self._pipeline, self._config, self._seed = pipeline, config or CosmosConfig(), seed
        self._rollouts: list[_Rollout] = []
        pipeline.set_progress_bar_config(disable=True)

    def reset(self, observations: Sequence[Observation]) -> ImageArray:
        """Begin from real observations; return their frames (B, H, W, 3)."""
        size = self._config.picture_px
        self._rollouts = [
            _Rollout(resize_squashed(o.image_hwc, size), tool_of(o), []) for o in observations
        ]
        return np.stack([rollout.image_hwc for rollout in self._rollouts])

    def step(self, actions_BA: NDArray[np.float64]) -> ImageArray:
        """Advance every rollout by one Bridge action (B, 7); return frames (B, H, W, 3).

        Raises:
            InputError: Actions of another number, dimension or scale, or not finite; or the model
                answers with numbers that are not finite.
        """
        shape = (len(self._rollouts), ACTION_DIM)
        actions = require_bridge_actions(np.asarray(actions_BA, float), shape)
        return self.step_chunk(actions[:, None])[:, 0]

    def step_chunk(self, actions_BKA: FloatArray) -> ImageArray:
        """Advance by K Bridge actions at once (B, K, 7); return frames (B, K, H, W, 3)."""
        shape = (len(self._rollouts), None, ACTION_DIM)
        actions = require_bridge_actions(np.asarray(actions_BKA, float), shape)
        if not self._rollouts:
            raise InputError("actions: no rollout is left to advance. Call reset first.")
        pairs = zip(self._rollouts, actions, strict=True)
        return np.stack([self._advance(rollout, own) for rollout, own in pairs])

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rollouts only; finished ones leave the batch."""
        self._rollouts = [self._rollouts[row] for row in rows]

    def _advance(self, rollout: _Rollout, actions_KA: FloatArray) -> ImageArray:
        """Return the frames (K, H, W, 3) after actions; a chunk at a time."""
        frames: list[ImageArray] = []
        waiting = list(actions_KA)
        while waiting:
            room = self._config.chunk - len(rollout.actions)
            now, waiting = waiting[:room], waiting[room:]
            rollout.actions += now
            drawn = self._draw(rollout)
            done = len(rollout.actions)
            frames += list(drawn[done - len(now) : done])
            if done == self._config.chunk:
                self._begin_chunk(rollout, drawn[-1])
        return np.stack(frames)

    def _begin_chunk(self, rollout: _Rollout, image_hwc: ImageArray) -> None:
        _, rollout.T_base_tool = cosmos_actions(rollout.T_base_tool, np.stack(rollout.actions))
        rollout.image_hwc, rollout.actions, rollout.chunk = image_hwc, [], rollout.chunk + 1

    def _draw(self, rollout: _Rollout) -> ImageArray:
        """Return the frames (chunk, H, W, 3) of a chunk that rests after its newest action."""
        from diffusers import CosmosActionCondition

        config = self._config
        rest = np.zeros(ACTION_DIM)
        rest[6] = rollout.actions[-1][6]
        actions = [*rollout.actions, *[rest] * (config.chunk - len(rollout.actions))]
        told, _ = cosmos_actions(rollout.T_base_tool, np.stack(actions))
        condition = CosmosActionCondition(
            mode="forward_dynamics",
            chunk_size=config.chunk,
            domain_name=DOMAIN,
            resolution_tier=config.tier,
            raw_actions=torch.from_numpy(told),
            image=rollout.image_hwc.astype(np.float32) / 255.0,
            view_point=config.view,
        )
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + rollout.chunk)
        video = self._pipeline(
            config.prompt,
            action=condition,
            fps=_RATE_HZ,
            num_inference_steps=config.steps,
            guidance_scale=config.guidance,
            generator=generator,
            output_type="np",
        ).video
        return _pictures(np.asarray(video)[1:], config)


def load_cosmos(
    folder: Path, config: CosmosConfig | None = None, *, device: str = "cpu", seed: int = 0
) -> CosmosImagination:
    """Return the world model of a folder that holds a downloaded Cosmos 3 checkpoint.

    The safety checker of the pipeline, a package of its own, is left out: pictures are imagined
    for a robot and shown to nobody as real.

    Raises:
        ConfigError: diffusers has no such pipeline, the folder holds none, the device is not
            there, or memory is short.
    """
    try:
        from diffusers import Cosmos3OmniPipeline
    except ImportError as error:
        raise ConfigError(
            f"cosmos: diffusers has no Cosmos3OmniPipeline ({error}), must be 0.39 or newer. "
            f"Install the versions of requirements/constraints.txt."
        ) from error
    where = device_of(device)
    if not (folder / "model_index.json").is_file():
        raise ConfigError(
            f"{folder}: no model_index.json, must be the folder of a Cosmos 3 checkpoint with "
            f"actions. Download one, for example nvidia/Cosmos3-Nano, and give its folder."
        )
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    require_device_memory(where, round(1.2 * size), f"loading {folder}")
    try:
        pipeline = Cosmos3OmniPipeline.from_pretrained(
            folder,
            dtype=torch.bfloat16 if where.type == "cuda" else torch.float32,
            enable_safety_checker=False,
            use_safetensors=True,
            local_files_only=True,
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{folder}: no readable pipeline ({error}). Copy it again.") from error
    if not pipeline.transformer.config.action_gen:
        raise ConfigError(
            f"{folder}: its transformer was trained without actions, must be with them "
            f"(action_gen). Choose another checkpoint."
        )
    return CosmosImagination(pipeline.to(where), config, seed)


def _pictures(video_KHWC: NDArray[np.float32], config: CosmosConfig) -> ImageArray:
    wanted = (config.chunk, config.picture_px, config.picture_px, 3)
    if video_KHWC.shape != wanted or not np.isfinite(video_KHWC).all():
        raise InputError(
            f"imagined pictures: {video_KHWC.shape}, must be {wanted} and finite. Choose a "
            f"picture_px that the model's autoencoder divides, and check the weights."
        )
    return np.round(video_KHWC.clip(0.0, 1.0) * 255.0).astype(np.uint8)
