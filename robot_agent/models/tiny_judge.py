"""The tiny judge: first and present picture and an instruction to success and progress.

Axis letters: B batch, C channels, H height, W width, N instructions.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_agent.models.blocks import ResidualBlock, with_coordinates


class TinyJudge(nn.Module):
    """Success logits per instruction and the opening of the drawer, from two pictures.

    Progress is a regression on the simulator's opening in the training data; it teaches the
    network where the drawer is and gives partial credit.
    """

    def __init__(self, num_instructions: int = 2, channels: int = 32) -> None:
        """Build an untrained network; `channels` at 16x16, twice that at 8x8."""
        super().__init__()
        self.stem = nn.Conv2d(6 * 16 + 2, channels, 3, padding=1)
        self.block_1 = ResidualBlock(channels)
        self.down = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)
        self.block_2 = ResidualBlock(2 * channels)
        self.block_3 = ResidualBlock(2 * channels)
        self.squeeze = nn.Conv2d(2 * channels, 24, 1)
        self.hidden = nn.Linear(24 * 64, 128)
        self.success = nn.Linear(128, num_instructions)
        self.progress = nn.Linear(128, 1)

    def forward(self, first_BCHW: Tensor, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return success logits (B, N) and the opening (B,), 0 closed to 1 fully open."""
        pictures = torch.cat([image_BCHW, first_BCHW], dim=1) - 0.5
        h = self.block_1(self.stem(with_coordinates(F.pixel_unshuffle(pictures, 4))))
        h = self.block_3(self.block_2(self.down(F.silu(h))))
        h = F.silu(self.hidden(F.silu(self.squeeze(F.silu(h))).flatten(1)))
        return self.success(h), self.progress(h)[:, 0]
