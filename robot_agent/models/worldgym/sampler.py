"""Our sampler: what was computed once is kept, a chunk is denoised together, guidance in one pass.

Axis letters: B batch, K frames of a chunk, C H W latents, A action (10).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.models.worldgym.cache import FrameCache
from robot_agent.models.worldgym.network import Dit, DitConfig, null_action
from robot_agent.models.worldgym.schedule import LEVELS, as_context, ddim_step, step_levels


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """How frames are drawn."""

    steps: int = 1
    """Denoising steps of a frame."""
    guidance: float = 1.0
    """w in v = (1 - w) v_null + w v_action; 1 needs no second row."""
    chunk: int = 5
    """Most frames denoised together."""
    cached: bool = True
    """Keep keys and values of past frames; without it everything is computed again each step."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("steps", self.steps, 1, LEVELS)
        require_range("guidance", self.guidance, 0.0, 20.0)
        require_range("chunk", self.chunk, 1, 64)


def require_room(latents_BTCHW: Tensor, config: DitConfig) -> None:
    """Raise InputError unless the known frames fit into the window and the network."""
    wanted = (config.channels, config.latent_px, config.latent_px)
    if latents_BTCHW.shape[2:] != wanted or not 1 <= latents_BTCHW.shape[1] < config.window:
        raise InputError(
            f"start latents {tuple(latents_BTCHW.shape)}, must be (B, 1 to {config.window - 1}, "
            f"{', '.join(map(str, wanted))}). Is this the autoencoder of these weights?"
        )


class Sampler:
    """A batch of rollouts in latents; frame k is drawn from frames before it and actions to k.

    All rollouts of a batch share the noise of a frame: a group then differs by its actions alone,
    and a rollout does not change with its neighbours.
    """

    def __init__(self, network: Dit, config: SamplerConfig, seed: int = 0) -> None:
        """Take a network; it is set to evaluation mode here."""
        self._network, self._config, self._seed = network.eval(), config, seed
        self._past_latents = torch.zeros(0)
        self._past_actions = torch.zeros(0)
        self._frame = 0
        self._cache = self._new_cache()

    def reset(self, latents_BTCHW: Tensor) -> None:
        """Begin from T known frames, usually one; nothing is said about what led to them.

        Raises:
            InputError: There are more than the window has room for.
        """
        require_room(latents_BTCHW, self._network.config)
        batch, frames = latents_BTCHW.shape[:2]
        self._past_latents = latents_BTCHW.float()
        shape = (batch, frames, self._network.config.action_dim)
        self._past_actions = latents_BTCHW.new_zeros(shape).float()
        self._frame = frames
        self._cache = self._new_cache()

    @torch.no_grad()
    def step(self, actions_BKA: Tensor) -> Tensor:
        """Return the next K latents (B, K, C, H, W); slot k holds the action that leads to k."""
        chunk = self._config.chunk
        return torch.cat([self._chunk(part) for part in actions_BKA.split(chunk, dim=1)], dim=1)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rollouts only."""
        batch, index = len(self._past_latents), torch.tensor(list(rows), dtype=torch.long)
        self._past_latents = self._past_latents[index]
        self._past_actions = self._past_actions[index]
        both = [*rows, *(batch + row for row in rows)] if self._is_guided else rows
        self._cache.keep(both, 2 * batch if self._is_guided else batch)

    @property
    def cache_bytes(self) -> int:
        """Memory of the keys and values."""
        return self._cache.bytes

    @property
    def _is_guided(self) -> bool:
        return self._config.guidance != 1.0

    def _new_cache(self) -> FrameCache:
        window = self._network.config.window
        return FrameCache(window, window - 1 + 2 * self._config.chunk)

    def _chunk(self, actions_BKA: Tensor) -> Tensor:
        """Draw one chunk. Frames that were drawn last enter the cache with its first step."""
        config, K = self._config, actions_BKA.shape[1]
        shape = (*actions_BKA.shape[:2], *self._past_latents.shape[2:])
        latents = self._noise(K, shape)
        levels = step_levels(config.steps)
        clean, clean_levels = as_context(self._past_latents)
        first = self._frame - clean.shape[1]
        for i, level in enumerate(levels[:-1]):
            noisy_levels = torch.full(shape[:2], level, device=latents.device)
            if i == 0 or not config.cached:
                frames = torch.cat([clean, latents], dim=1)
                told = torch.cat([clean_levels, noisy_levels], dim=1)
                actions = torch.cat([self._past_actions, actions_BKA], dim=1)
                v = self._guided(frames, told, actions, first)[:, -K:]
            else:
                v = self._guided(latents, noisy_levels, actions_BKA, self._frame)
            latents = ddim_step(latents, v, level, levels[i + 1])
        self._remember(latents, actions_BKA)
        self._frame += K
        return latents

    def _remember(self, latents: Tensor, actions: Tensor) -> None:
        if not self._config.cached:
            latents = torch.cat([self._past_latents, latents], dim=1)
            actions = torch.cat([self._past_actions, actions], dim=1)
        self._past_latents, self._past_actions = latents, actions

    def _guided(self, frames: Tensor, levels: Tensor, actions: Tensor, first: int) -> Tensor:
        """Return v with guidance; both conditions are rows of one batch."""
        w = self._config.guidance
        cache = self._cache if self._config.cached else None
        if not self._is_guided:
            return self._network(frames, levels, actions, cache, first)
        both = self._network(
            torch.cat([frames, frames]),
            torch.cat([levels, levels]),
            torch.cat([actions, null_action(actions)]),
            cache,
            first,
        )
        with_action, without = both.chunk(2)
        return (1.0 - w) * without + w * with_action

    def _noise(self, count: int, shape: tuple[int, ...]) -> Tensor:
        """Return noise that depends on the seed and the frame only."""
        frames = []
        for frame in range(self._frame, self._frame + count):
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + frame)
            frames.append(torch.randn(shape[2:], generator=generator))
        return torch.stack(frames).to(self._past_latents.device).expand(shape)
