"""The tiny policy as a `Policy`: pictures of any size in, chunks of Bridge actions out."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.errors import InputError
from robot_agent.core.policy_needs import BRIDGE_ACTIONS, PolicyNeeds
from robot_agent.core.types import Chunk, Observation
from robot_agent.models.scaling import resize_squashed, to_unit
from robot_agent.models.tiny_policy import CHUNK, sample_tokens

ARCHITECTURE = "tiny-vla-1"
MODEL_SIZE_PX = 64


def instruction_id(instruction: str, known: Sequence[str]) -> int:
    """Return the index of an instruction; InputError when it is empty or unknown."""
    words = " ".join(instruction.lower().split())
    if words not in known:
        raise InputError(
            f"instruction '{instruction}' is of no task these weights know. "
            f"Choose one of: {', '.join(known)}."
        )
    return list(known).index(words)


class ActionLogits(Protocol):
    """The token head of a policy, whatever runs it: torch, or an exported file."""

    def __call__(self, image_BCHW: Tensor, instruction_B: Tensor, /) -> Tensor:
        """Return logits (B, 5, 7, bins) for pictures (B, 3, 64, 64) in [0, 1] and ids (B,)."""

    def bin_centers(self) -> Tensor:
        """Return the centres (bins,) of the bins in [-1, 1]."""


class TinyVla:
    """Chunks of 5 actions sampled from the token head. One thread at a time."""

    def __init__(
        self,
        network: ActionLogits,
        instructions: Sequence[str],
        *,
        version: str,
        temperature: float = 1.0,
        normalization: Normalization | None = None,
        action_space: str = BRIDGE_ACTIONS,
        backend: str = "torch",
    ) -> None:
        """Take a trained network and the instructions behind its ids.

        Args:
            network: Trained weights; a torch network is set to evaluation mode here.
            instructions: Lower-case instructions in the order of their ids.
            version: Version of the weights, stamped on every chunk.
            temperature: Of the sampling; 0 takes the most likely tokens.
            normalization: From [-1, 1] to Bridge units; Bridge's own by default.
            action_space: What the weights' manifest says their actions are.
            backend: What runs the network, for the status.
        """
        self._network = network.eval() if isinstance(network, nn.Module) else network
        self._instructions = tuple(instructions)
        self._version = version
        self._temperature = temperature
        self._normalization = normalization or Normalization()
        self._action_space, self.backend = action_space, backend
        self._centers = network.bin_centers().double().numpy()
        self._generator = torch.Generator().manual_seed(0)
        self._instruction = torch.zeros(1, dtype=torch.long)
        self._chunk_id = 0

    @property
    def version(self) -> str:
        """Version of the weights."""
        return self._version

    @property
    def needs(self) -> PolicyNeeds:
        """A picture of any size and nothing else; actions of Bridge at 5 Hz."""
        return PolicyNeeds(
            min_image_px=MODEL_SIZE_PX,
            statistics=self._normalization.name,
            action_space=self._action_space,
            chunk=CHUNK,
        )

    @property
    def instructions(self) -> tuple[str, ...]:
        """Instructions that these weights know."""
        return self._instructions

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode; InputError when the instruction is empty or unknown."""
        self._instruction[0] = instruction_id(instruction, self._instructions)
        self._generator.manual_seed(seed)

    @torch.no_grad()
    def act(self, observation: Observation) -> Chunk:
        """Return 5 Bridge actions (5, 7) for the observation's picture."""
        image = resize_squashed(observation.image_hwc, MODEL_SIZE_PX)
        logits = self._network(to_unit(image)[None], self._instruction)
        tokens = sample_tokens(logits, self._temperature, self._generator)[0].numpy()
        self._chunk_id += 1
        return Chunk(
            actions=self._normalization.unnormalize(self._centers[tokens]),
            weights_version=self._version,
            chunk_id=self._chunk_id,
            observation_stamp_ns=observation.stamp_ns,
        )

    def act_greedy(self, images: np.ndarray, instruction_ids: Sequence[int]) -> np.ndarray:
        """Return the most likely chunks (B, 5, 7) for pictures (B, 64, 64, 3): golden actions."""
        with torch.no_grad():
            logits = self._network(to_unit(images), torch.tensor(list(instruction_ids)))
        tokens = logits.argmax(dim=-1).numpy()
        return self._normalization.unnormalize(self._centers[tokens])
