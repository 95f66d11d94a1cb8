"""The tiny policy: a picture and an instruction to 5 actions x 7 tokens, all decoded at once.

Axis letters: B batch, K action of the chunk (5), A dimension (7), V bin of a token, C H W picture.
The token head is that of OpenVLA-OFT: every dimension of every action of the chunk is a
categorical over bins in [-1, 1], independent given the observation: log-probabilities are exact.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_agent.core.config import require_range
from robot_agent.models.blocks import ResidualBlock, with_coordinates
from robot_agent.models.chunk_policy import ChunkPolicy

CHUNK = 5
"""Actions of one inference, executed open loop (World-Gymnast, OpenVLA-OFT)."""


@dataclass(frozen=True, kw_only=True)
class TinyPolicyConfig:
    """Size of the network."""

    num_instructions: int = 2
    bins: int = 64
    channels: tuple[int, int, int] = (32, 64, 96)
    """Channels at 32x32, 16x16 and 8x8."""
    hidden: int = 384

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("num_instructions", self.num_instructions, 1, 1024)
        require_range("bins", self.bins, 2, 256)


class TinyPolicy(ChunkPolicy):
    """Logits of action tokens for pictures (B, 3, 64, 64) in [0, 1] and instruction ids (B,)."""

    def __init__(self, config: TinyPolicyConfig | None = None) -> None:
        """Build an untrained network."""
        super().__init__()
        self.config = config or TinyPolicyConfig()
        c1, c2, c3 = self.config.channels
        self.instruction = nn.Embedding(self.config.num_instructions, 64)
        self.stem = nn.Conv2d(5, c1, 5, stride=2, padding=2)
        self.down_1 = nn.Conv2d(c1, c2, 3, stride=2, padding=1)
        self.block_1 = ResidualBlock(c2, 64)
        self.down_2 = nn.Conv2d(c2, c3, 3, stride=2, padding=1)
        self.block_2 = ResidualBlock(c3, 64)
        self.squeeze = nn.Conv2d(c3, 48, 1)
        self.trunk = nn.Sequential(
            nn.Linear(48 * 64 + 64, self.config.hidden),
            nn.SiLU(),
            nn.Linear(self.config.hidden, self.config.hidden),
            nn.SiLU(),
        )
        self.tokens = nn.Linear(self.config.hidden, CHUNK * 7 * self.config.bins)

    def forward(self, image_BCHW: Tensor, instruction_B: Tensor) -> Tensor:
        """Return logits (B, 5, 7, bins)."""
        d = self.instruction(instruction_B)
        h = F.silu(self.stem(with_coordinates(image_BCHW - 0.5)))
        h = self.block_1(self.down_1(h), d)
        h = self.block_2(self.down_2(F.silu(h)), d)
        h = self.squeeze(F.silu(h)).flatten(1)
        h = self.trunk(torch.cat([F.silu(h), d], dim=1))
        logits: Tensor = self.tokens(h).view(-1, CHUNK, 7, self.config.bins)
        return logits

    @property
    def num_instructions(self) -> int:
        """Number of instruction ids."""
        return self.config.num_instructions

    def bin_centers(self) -> Tensor:
        """Return the centres (bins,) of the bins in [-1, 1]."""
        return torch.linspace(-1, 1, self.config.bins)


def token_log_probs(logits_BKAV: Tensor, tokens_BKA: Tensor, temperature: float) -> Tensor:
    """Return exact log-probabilities (B, K, A) of tokens sampled at `temperature`."""
    log_probs = F.log_softmax(logits_BKAV.float() / temperature, dim=-1)
    return log_probs.gather(-1, tokens_BKA[..., None])[..., 0]


def sample_tokens(logits_BKAV: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Return tokens (B, K, A) drawn at `temperature`; the most likely ones at temperature 0."""
    if temperature <= 0.0:
        return logits_BKAV.argmax(dim=-1)
    probabilities = F.softmax(logits_BKAV.float() / temperature, dim=-1)
    flat = torch.multinomial(probabilities.flatten(0, 2), 1, generator=generator)
    return flat.view(logits_BKAV.shape[:-1])
