"""The published latent video diffusion transformer at any size; keys as in its checkpoints.

Axis letters: B batch, T frames, C H W latent, P patches, E embedding, A action (10), N rows of an
attention, h heads, D channels of a head.
Source: WorldGym (arXiv 2506.00613); facts in published_method.md 2.1, read from its model.py.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_agent.core.config import require_range
from robot_agent.models.worldgym.cache import FrameCache, causal_window
from robot_agent.models.worldgym.rotary import RotaryKind, frame_table, picture_table, rotate

_FREQUENCIES = 256
"""Channels of the sinusoid of the noise level."""


@dataclass(frozen=True, kw_only=True)
class DitConfig:
    """Size of the network; the defaults are the published ones, 607.9 M parameters."""

    channels: int = 16
    """Of the latent."""
    latent_px: int = 32
    """Side of the square latent."""
    patch: int = 2
    """Side of a patch in latent pixels."""
    embedding: int = 1024
    depth: int = 16
    """Pairs of a spatial and a temporal block."""
    heads: int = 16
    action_dim: int = 10
    window: int = 20
    """Frames that a frame sees, itself included."""
    rotary: RotaryKind = "standard"
    """Positions in space; those in time are always standard."""

    def __post_init__(self) -> None:
        """Check ranges, and that heads, pairs of channels and patches divide evenly."""
        require_range("depth", self.depth, 1, 256)
        require_range("window", self.window, 2, 10_000)
        if self.embedding % (4 * self.heads):
            raise ValueError(
                f"embedding={self.embedding} must be a multiple of 4 heads = {4 * self.heads}"
            )
        if self.latent_px % self.patch:
            raise ValueError(f"latent_px={self.latent_px} must be a multiple of {self.patch}")

    @property
    def patches(self) -> int:
        """Tokens of a frame."""
        return (self.latent_px // self.patch) ** 2


class Attention(nn.Module):
    """Attention over the patches of a frame, or over the frames of a patch."""

    def __init__(self, embedding: int, heads: int) -> None:
        """Make the two projections."""
        super().__init__()
        self.heads = heads
        self.qkv_proj = nn.Linear(embedding, 3 * embedding, bias=False)
        self.out_proj = nn.Linear(embedding, embedding)

    def split(self, x_NTE: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return turned queries, turned keys, and values (N, h, T, D)."""
        q, k, v = self.qkv_proj(x_NTE).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return rotate(q, table), rotate(k, table), v

    def join(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return what the queries find (N, T, E)."""
        found_NhTD = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(found_NhTD.transpose(1, 2).flatten(-2))


class DitBlock(nn.Module):
    """Attention and an MLP, each shifted, scaled and gated by the frame's condition."""

    def __init__(self, embedding: int, heads: int) -> None:
        """Make a block that changes nothing until it is trained (adaLN-Zero)."""
        super().__init__()
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 6 * embedding))
        self.attn = Attention(embedding, heads)
        self.ffwd = nn.Sequential(
            nn.Linear(embedding, 4 * embedding),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * embedding, embedding),
        )

    def modulation(self, condition_BTE: Tensor) -> tuple[Tensor, ...]:
        """Return shift, scale and gate of the attention, then of the MLP, each (B, T, 1, E)."""
        return self.adaLN_modulation(condition_BTE)[:, :, None].chunk(6, dim=-1)

    def feed(self, x: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        """Return x after the MLP."""
        return x + self.ffwd(normalized(x, shift, scale)) * gate


class Block(nn.Module):
    """A block over space, then one over time."""

    def __init__(self, embedding: int, heads: int) -> None:
        """Make both."""
        super().__init__()
        self.s_block = DitBlock(embedding, heads)
        self.t_block = DitBlock(embedding, heads)

    def forward(
        self, x_BTPE: Tensor, condition_BTE: Tensor, space: Tensor, past: "Past"
    ) -> Tensor:
        """Return the embeddings after both."""
        return self._time(self._space(x_BTPE, condition_BTE, space), condition_BTE, past)

    def _space(self, x_BTPE: Tensor, condition_BTE: Tensor, table: Tensor) -> Tensor:
        """Let the patches of each frame see one another."""
        block = self.s_block
        shift, scale, gate, *rest = block.modulation(condition_BTE)
        inner = normalized(x_BTPE, shift, scale).flatten(0, 1)
        q, k, v = block.attn.split(inner, table)
        found = block.attn.join(q, k, v, None).unflatten(0, x_BTPE.shape[:2])
        return block.feed(x_BTPE + found * gate, *rest)

    def _time(self, x_BTPE: Tensor, condition_BTE: Tensor, past: "Past") -> Tensor:
        """Let each patch see itself in earlier frames."""
        block = self.t_block
        B, _, P, _ = x_BTPE.shape
        shift, scale, gate, *rest = block.modulation(condition_BTE)
        inner = normalized(x_BTPE, shift, scale).transpose(1, 2).flatten(0, 1)
        q, k, v = block.attn.split(inner, past.table)
        if past.cache is not None:
            k, v = past.cache.put(past.layer, k, v)
        found = block.attn.join(q, k, v, past.mask).unflatten(0, (B, P)).transpose(1, 2)
        return block.feed(x_BTPE + found * gate, *rest)


@dataclass
class Past:
    """What the temporal layers of one call share."""

    table: Tensor
    mask: Tensor | None
    cache: FrameCache | None
    layer: int = 0


class FinalLayer(nn.Module):
    """From embeddings to the latent pixels of each patch."""

    def __init__(self, config: DitConfig) -> None:
        """Make a layer that answers zero until it is trained."""
        super().__init__()
        E = config.embedding
        self.linear = nn.Linear(E, config.patch**2 * config.channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(E, 2 * E))

    def forward(self, x_BTPE: Tensor, condition_BTE: Tensor) -> Tensor:
        """Return (B, T, P, patch^2 C)."""
        shift, scale = self.adaLN_modulation(condition_BTE)[:, :, None].chunk(2, dim=-1)
        return self.linear(normalized(x_BTPE, shift, scale))


class Dit(nn.Module):
    """Predicts v of every frame from noised latents, noise levels and actions.

    Slot t carries the action that leads to frame t; every frame has its own noise level.
    """

    def __init__(self, config: DitConfig | None = None) -> None:
        """Build an untrained network; it answers zero until it is trained."""
        super().__init__()
        self.config = c = config or DitConfig()
        E = c.embedding
        self.x_proj = nn.Conv2d(c.channels, E, c.patch, stride=c.patch)
        self.timestep_mlp = nn.Sequential(nn.Linear(_FREQUENCIES, E), nn.SiLU(), nn.Linear(E, E))
        self.action_embedder = nn.Linear(c.action_dim, E)
        self.blocks = nn.ModuleList([Block(E, c.heads) for _ in range(c.depth)])
        self.final_layer = FinalLayer(c)
        _initialize(self)

    def forward(
        self,
        latents_BTCHW: Tensor,
        levels_BT: Tensor,
        actions_BTA: Tensor,
        cache: FrameCache | None = None,
        first_frame: int = 0,
    ) -> Tensor:
        """Return v (B, T, C, H, W) in float32.

        Args:
            latents_BTCHW: Noised latents of T frames in a row.
            levels_BT: Their noise levels, 0 to 999.
            actions_BTA: Scaled actions; all zero is "do not move", `null_action` is "unknown".
            cache: Frames seen before; without it the T frames are all there is.
            first_frame: Number of the first of the T frames in the rollout.
        """
        c, dtype = self.config, self.x_proj.weight.dtype
        B, T, _, H, W = latents_BTCHW.shape
        x = self.x_proj(latents_BTCHW.flatten(0, 1).to(dtype)).flatten(2).transpose(1, 2)
        x = x.unflatten(0, (B, T))
        condition = self.timestep_mlp(_sinusoid(levels_BT).to(dtype))
        condition = condition + self.action_embedder(actions_BTA.to(dtype))
        head = c.embedding // c.heads
        space = picture_table(H // c.patch, W // c.patch, head, c.rotary)
        mask = self._mask(cache, first_frame, T)
        mask = None if mask is None else mask.to(x.device)
        past = Past(frame_table(first_frame, T, head), mask, cache)
        for past.layer, block in enumerate(self.blocks):
            x = block(x, condition, space, past)
        return self._pictures(self.final_layer(x, condition), H, W)

    def _mask(self, cache: FrameCache | None, first: int, count: int) -> Tensor | None:
        if cache is not None:
            return cache.begin(first, count)
        frames = torch.arange(count)
        return causal_window(frames, frames, self.config.window)

    def _pictures(self, x_BTPK: Tensor, height: int, width: int) -> Tensor:
        p = self.config.patch
        x = x_BTPK.float().unflatten(-1, (p, p, -1)).unflatten(2, (height // p, width // p))
        return x.permute(0, 1, 6, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)


def normalized(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return the layer norm of x, without weights of its own, scaled and shifted."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1.0 + scale) + shift


def null_action(actions: Tensor) -> Tensor:
    """Return actions (..., A) that say nothing: zeros with the last component 1."""
    null = torch.zeros_like(actions)
    null[..., -1] = 1.0
    return null


def _sinusoid(levels_BT: Tensor) -> Tensor:
    half = _FREQUENCIES // 2
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(half, dtype=torch.float32) / half)
    angles = levels_BT.float()[..., None] * frequency.to(levels_BT.device)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


@torch.no_grad()
def _initialize(network: Dit) -> None:
    """Xavier for linear layers, zeros where a block or the output must begin as nothing."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.view(len(module.weight), -1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for name, parameter in network.named_parameters():
        if name.startswith("timestep_mlp") and name.endswith("weight"):
            nn.init.normal_(parameter, std=0.02)
        elif "adaLN_modulation" in name or name.startswith("final_layer.linear"):
            nn.init.zeros_(parameter)
