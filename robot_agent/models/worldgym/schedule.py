"""The noise of the published diffusion: levels, targets and the deterministic step between levels.

Axis letters: B batch, T frames, C H W latents.
Source: sigmoid schedule of arXiv 2212.11972 with start -3, end 3, tau 1; DDIM (arXiv 2010.02502)
with eta 0; v-prediction (arXiv 2202.00512). x_t = sqrt(a_t) x + sqrt(1 - a_t) e,
v = sqrt(a_t) e - sqrt(1 - a_t) x.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

LEVELS = 1000
CLEAN = -1
"""The level below all others: no noise."""
CONTEXT_LEVEL = 14
"""Past frames are told to the network as this noisy, scaled so, with no noise added."""
_START, _END = -3.0, 3.0
_LARGEST_BETA = 0.999


@lru_cache(maxsize=1)
def signal_shares() -> Tensor:
    """Return a_t, the share of the signal's variance, for each level (1000,) float32."""
    t = torch.linspace(0.0, 1.0, LEVELS + 1, dtype=torch.float64)
    low, high = torch.tensor([_START, _END], dtype=torch.float64).sigmoid()
    share = (high - (t * (_END - _START) + _START).sigmoid()) / (high - low)
    beta = (1.0 - share[1:] / share[:-1]).clamp(0.0, _LARGEST_BETA)
    return (1.0 - beta.float()).cumprod(dim=0)


def share_at(levels_BT: Tensor) -> Tensor:
    """Return a (B, T, 1, 1, 1) of levels; 1 for `CLEAN`."""
    shares = signal_shares().to(levels_BT.device)
    known = shares[levels_BT.clamp_min(0)]
    return torch.where(levels_BT < 0, torch.ones_like(known), known)[..., None, None, None]


def add_noise(latents_BTCHW: Tensor, levels_BT: Tensor, noise_BTCHW: Tensor) -> Tensor:
    """Return x_t."""
    share = share_at(levels_BT)
    return share.sqrt() * latents_BTCHW + (1.0 - share).sqrt() * noise_BTCHW


def velocity(latents_BTCHW: Tensor, levels_BT: Tensor, noise_BTCHW: Tensor) -> Tensor:
    """Return v, what the network learns to predict."""
    share = share_at(levels_BT)
    return share.sqrt() * noise_BTCHW - (1.0 - share).sqrt() * latents_BTCHW


def as_context(latents_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return clean frames as the network is shown them, and their levels (B, T)."""
    levels = torch.full(latents_BTCHW.shape[:2], CONTEXT_LEVEL, device=latents_BTCHW.device)
    return share_at(levels).sqrt() * latents_BTCHW, levels


def ddim_step(noised: Tensor, v: Tensor, level: int, next_level: int) -> Tensor:
    """Return the frames (B, T, C, H, W) at the next, lower level."""
    here, there = share_at(torch.tensor([[level], [next_level]], device=noised.device))[:, 0]
    clean = here.sqrt() * noised - (1.0 - here).sqrt() * v
    noise = (1.0 - here).sqrt() * noised + here.sqrt() * v
    return there.sqrt() * clean + (1.0 - there).sqrt() * noise


def step_levels(steps: int) -> Sequence[int]:
    """Return the levels passed through: from 999 down to `CLEAN` in `steps` equal steps."""
    return torch.linspace(-1, LEVELS - 1, steps + 1, dtype=torch.long).flip(0).tolist()
