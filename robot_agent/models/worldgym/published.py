"""The published sampler, faithfully: the baseline that ours is measured against.

Ten DDIM steps a frame, one frame at a time, guidance 3 by two forward passes, at most 19 past
frames. Keys and values are forgotten at the start of every frame: the first step runs the whole
window, the other nine run the new frame. In that first step the published code leaves out the
causal mask (facts 8.3.1), so past frames see the noise of the new one; `is_leaking` keeps that.

Axis letters: B batch, T frames of the window, C H W latents, A action (10).
Source: world-gymnast/world-model-eval at da8ae79, world_model.py and diffusion.py, as described in
published_method.md 2.3; the formulas, not the code.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robot_agent.models.worldgym.cache import FrameCache
from robot_agent.models.worldgym.network import Dit, null_action
from robot_agent.models.worldgym.sampler import require_room
from robot_agent.models.worldgym.schedule import as_context, ddim_step, step_levels


@dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """The published settings."""

    steps: int = 10
    guidance: float = 3.0
    is_leaking: bool = True
    """As published; without it the window is causal, as in training."""


class PublishedSampler:
    """A batch of rollouts in latents, one frame per step."""

    def __init__(self, network: Dit, config: PublishedConfig | None = None, seed: int = 0) -> None:
        """Take a network; it is set to evaluation mode here."""
        self._network, self._config = network.eval(), config or PublishedConfig()
        self._seed = seed
        self._latents = self._actions = torch.zeros(0)
        self._frame = 0

    def reset(self, latents_BTCHW: Tensor) -> None:
        """Begin from T known frames, usually one, whose action slots are zero."""
        require_room(latents_BTCHW, self._network.config)
        batch, frames = latents_BTCHW.shape[:2]
        self._latents = latents_BTCHW.float()
        self._actions = torch.zeros(batch, frames, self._network.config.action_dim)
        self._frame = frames

    @torch.no_grad()
    def step(self, actions_BKA: Tensor) -> Tensor:
        """Return the next K latents (B, K, C, H, W), one after the other."""
        frames = [self._next(actions_BKA[:, k : k + 1]) for k in range(actions_BKA.shape[1])]
        return torch.cat(frames, dim=1)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rollouts only."""
        index = torch.tensor(list(rows), dtype=torch.long)
        self._latents, self._actions = self._latents[index], self._actions[index]

    def _next(self, action_B1A: Tensor) -> Tensor:
        past = self._network.config.window - 1
        actions = torch.cat([self._actions[:, -past:], action_B1A], dim=1)
        clean, clean_levels = as_context(self._latents[:, -past:])
        count = clean.shape[1]
        latent = self._noise()
        caches = [self._new_cache(count + 1) for _ in range(2)]
        levels = step_levels(self._config.steps)
        for i, level in enumerate(levels[:-1]):
            told = torch.full((len(latent), 1), level)
            if i == 0:
                frames, told = torch.cat([clean, latent], 1), torch.cat([clean_levels, told], 1)
                v = self._guided(frames, told, actions, caches, 0)[:, -1:]
            else:
                v = self._guided(latent, told, action_B1A, caches, count)
            latent = ddim_step(latent, v, level, levels[i + 1])
        self._latents = torch.cat([self._latents[:, -past:], latent], dim=1)
        self._actions = actions
        self._frame += 1
        return latent

    def _new_cache(self, slots: int) -> FrameCache:
        return FrameCache(
            self._network.config.window, slots, is_causal=not self._config.is_leaking
        )

    def _guided(
        self,
        frames: Tensor,
        levels: Tensor,
        actions: Tensor,
        caches: Sequence[FrameCache],
        first: int,
    ) -> Tensor:
        w = self._config.guidance
        with_action = self._network(frames, levels, actions, caches[0], first)
        if w == 1.0:
            return with_action
        without = self._network(frames, levels, null_action(actions), caches[1], first)
        return (1.0 - w) * without + w * with_action

    def _noise(self) -> Tensor:
        """Return the noise that our sampler draws for this frame too."""
        shape = self._latents.shape[2:]
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._frame)
        noise = torch.randn(shape, generator=generator)
        return noise.expand(len(self._latents), 1, *shape)
