"""The tiny world model: composes the next picture from the present one, the first, and new pixels.

Axis letters: B batch, T time, C channels, H height, W width, A action (7), P state (7).
Pictures are RGB in [0, 1], or latents of an autoencoder; states are
`[x y z roll pitch yaw opening]` of the tool, scaled.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_agent.core.config import require_range
from robot_agent.models.blocks import ResidualBlock, with_coordinates

SIZE_PX = 64
STATE_DIM = 7
_NUM_SOURCES = 4
_LATENT_BOUND = 6.0
"""Latents of unit size do not leave this, and a rollout that runs away ends here."""
_MAX_FLOW = 0.35
"""Largest shift of a pixel in one step, in units of half the picture."""


@dataclass(frozen=True, kw_only=True)
class TinyWorldConfig:
    """Size of the network."""

    channels: tuple[int, int, int] = (40, 88, 160)
    """Channels at 16x16, 8x8 and 4x4."""
    condition: int = 128
    seen: int = 3
    """Channels of a picture: 3 is RGB in [0, 1], more are those of a latent."""
    patch: int = 4
    """Pixels of the picture, or of the latent, to a side of one of 16x16."""

    def __post_init__(self) -> None:
        """Group norm needs multiples of eight."""
        for channels in self.channels:
            require_range("channels", channels, 8, 1024)
            if channels % 8:
                raise ValueError(f"channels={channels} is not a multiple of 8")
        require_range("seen", self.seen, 3, 1024)
        require_range("patch", self.patch, 1, 64)

    @property
    def is_latent(self) -> bool:
        """Whether it imagines latents instead of RGB."""
        return self.seen != 3


class TinyWorld(nn.Module):
    """One step of imagination: (picture, first picture, state, actions) to (picture, state).

    The next picture is a per-pixel mixture of the present picture, the present picture moved by a
    predicted flow, the first picture (what the arm uncovers), and new pixels. Static pixels
    therefore do not drift. The tool's state enters and is predicted, so that height is known where
    one camera cannot see it.
    """

    def __init__(self, config: TinyWorldConfig | None = None) -> None:
        """Build an untrained network."""
        super().__init__()
        self.config = config or TinyWorldConfig()
        c1, c2, c3 = self.config.channels
        d, seen, patch = self.config.condition, self.config.seen, self.config.patch
        self.condition = nn.Sequential(
            nn.Linear(STATE_DIM + 2 * 7, d), nn.SiLU(), nn.Linear(d, d), nn.SiLU()
        )
        self.stem = nn.Conv2d(2 * seen * patch * patch + 2, c1, 3, padding=1)
        self.enter = nn.ModuleList([ResidualBlock(c1, d)])
        self.down_1 = nn.Conv2d(c1, c2, 3, stride=2, padding=1)
        self.middle_in = nn.ModuleList([ResidualBlock(c2, d) for _ in range(2)])
        self.down_2 = nn.Conv2d(c2, c3, 3, stride=2, padding=1)
        self.bottom = nn.ModuleList([ResidualBlock(c3, d) for _ in range(2)])
        self.up_2 = nn.Conv2d(c3 + c2, c2, 1)
        self.middle_out = nn.ModuleList([ResidualBlock(c2, d)])
        self.up_1 = nn.Conv2d(c2 + c1, c1, 1)
        self.leave = nn.ModuleList([ResidualBlock(c1, d)])
        self.head = nn.Conv2d(c1, (_NUM_SOURCES + seen + 2) * patch * patch, 3, padding=1)
        last = nn.Linear(d, STATE_DIM)
        self.state_head = nn.Sequential(nn.Linear(c3 + d, d), nn.SiLU(), last)
        _begin_by_keeping(self.head, last, patch)

    def forward(
        self,
        image_BCHW: Tensor,
        first_BCHW: Tensor,
        state_BP: Tensor,
        action_BA: Tensor,
        previous_action_BA: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the next picture (B, C, H, W) and the next state (B, 7); RGB in [-0.05, 1.05]."""
        d = self.condition(torch.cat([state_BP, action_BA, previous_action_BA], dim=1))
        middle = 0.0 if self.config.is_latent else 0.5
        pictures = torch.cat([image_BCHW, first_BCHW], dim=1) - middle
        h1 = self.stem(with_coordinates(F.pixel_unshuffle(pictures, self.config.patch)))
        h1 = _through(self.enter, h1, d)
        h2 = _through(self.middle_in, self.down_1(h1), d)
        h3 = _through(self.bottom, self.down_2(h2), d)
        u2 = _through(self.middle_out, self.up_2(torch.cat([_double(h3), h2], dim=1)), d)
        u1 = _through(self.leave, self.up_1(torch.cat([_double(u2), h1], dim=1)), d)
        parts = F.pixel_shuffle(self.head(F.silu(u1)).float(), self.config.patch)
        change = self.state_head(torch.cat([h3.mean(dim=(2, 3)), d], dim=1)).float()
        return _compose(parts, image_BCHW, first_BCHW), state_BP + 0.2 * change


@torch.no_grad()
def _begin_by_keeping(head: nn.Conv2d, last: nn.Linear, patch: int) -> None:
    """Start as a model of a world that stands still."""
    head.weight.mul_(0.1)
    bias = torch.zeros(head.out_channels)
    bias[: patch * patch] = 3.0
    head.bias = nn.Parameter(bias)
    last.weight.mul_(0.1)


def _through(blocks: nn.ModuleList, x: Tensor, d: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, d)
    return x


def _double(x_BCHW: Tensor) -> Tensor:
    return F.interpolate(x_BCHW, scale_factor=2, mode="nearest")


def _compose(parts_BCHW: Tensor, image_BCHW: Tensor, first_BCHW: Tensor) -> Tensor:
    """Mix the four sources by softmax masks."""
    masks = parts_BCHW[:, :_NUM_SOURCES].softmax(dim=1)
    new = parts_BCHW[:, _NUM_SOURCES:-2]
    is_latent = new.shape[1] != 3
    flow_BHW2 = _MAX_FLOW * torch.tanh(parts_BCHW[:, -2:]).permute(0, 2, 3, 1)
    B, H, W, _ = flow_BHW2.shape
    identity = torch.eye(2, 3, device=flow_BHW2.device).expand(B, 2, 3)
    grid = F.affine_grid(identity, [B, 3, H, W], align_corners=False) + flow_BHW2
    moved = F.grid_sample(image_BCHW.float(), grid, padding_mode="border", align_corners=False)
    sources = (image_BCHW, moved, first_BCHW, new if is_latent else new.sigmoid())
    mixed = sum(masks[:, i : i + 1] * source for i, source in enumerate(sources))
    low, high = (-_LATENT_BOUND, _LATENT_BOUND) if is_latent else (-0.05, 1.05)
    return torch.as_tensor(mixed).clamp(low, high)


def size_of(tensors: Mapping[str, Tensor]) -> TinyWorldConfig:
    """Return the size of the network that these weights are of, read off their shapes.

    Raises:
        ValueError: They are of no such network.
    """
    try:
        stem, head = tensors["stem.weight"], tensors["head.weight"]
        wide = tensors["down_1.weight"].shape[0], tensors["down_2.weight"].shape[0]
        seen_pixels = (stem.shape[1] - 2) // 2
        pixels = (head.shape[0] - seen_pixels) // (_NUM_SOURCES + 2)
        return TinyWorldConfig(
            channels=(stem.shape[0], *wide),
            condition=tensors["condition.0.weight"].shape[0],
            seen=seen_pixels // max(1, pixels),
            patch=math.isqrt(max(1, pixels)),
        )
    except (KeyError, IndexError) as error:
        raise ValueError(f"no weights of a tiny world model: {error}") from error
