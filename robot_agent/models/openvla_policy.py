"""OpenVLA and OpenVLA-OFT as a `Policy`: an observation in, a chunk of Bridge actions out.

Axis letters: B batch, K action of the chunk, A dimension (7), V bin of a token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from robot_agent.core.bridge_action import bridge_state
from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.core.policy_needs import BRIDGE_STATE, COLOR_CAMERA, PolicyNeeds
from robot_agent.core.types import Chunk, Observation
from robot_agent.models.openvla import OpenVla, OpenVlaConfig
from robot_agent.models.openvla_images import PictureConfig, prepare_picture
from robot_agent.models.openvla_statistics import Bounds
from robot_agent.models.tiny_policy import sample_tokens, token_log_probs

Encode = Callable[[str], Sequence[int]]
"""Llama's tokenizer: text to ids, the first of them the start of a sequence."""
START_TOKEN = 1
EMPTY_TOKEN = 29871
"""What stands between the prompt's colon and the first action in the training data."""
_PROMPT = "In: What action should the robot take to {}?\nOut:"


@dataclass(frozen=True, kw_only=True)
class OpenVlaPolicyConfig:
    """How the network is used."""

    decoding: Literal["parallel", "autoregressive"] = "parallel"
    """parallel for OFT (all tokens of a chunk at once), autoregressive for OpenVLA."""
    chunk: int = 5
    """Actions of one inference: 5 for Bridge, 8 in OFT's simulated suites, 1 autoregressive."""
    temperature: float = 0.0
    """Of the sampling; 0 takes the most likely tokens, World-Gymnast trains at 1.6."""
    second_camera: str = ""
    """Name of a second picture (the wrist's), or empty."""
    picture: PictureConfig = field(default_factory=PictureConfig)

    def __post_init__(self) -> None:
        """Check the ranges and what excludes what."""
        require_range("chunk", self.chunk, 1, 25)
        require_range("temperature", self.temperature, 0.0, 10.0)
        if self.decoding == "autoregressive" and self.chunk != 1:
            raise ValueError(f"chunk={self.chunk} must be 1 where tokens are decoded one by one")


@dataclass(frozen=True, eq=False)
class SampledChunk:
    """A chunk with what its update needs."""

    chunk: Chunk
    bins_KA: Tensor
    """Bins (K, 7) that were drawn."""
    log_probs_KA: Tensor
    """Their exact log-probabilities (K, 7) at the temperature of the sampling."""


class OpenVlaPolicy:
    """Chunks drawn from the network's action tokens. One thread at a time."""

    def __init__(
        self,
        network: OpenVla,
        encode: Encode,
        actions: Bounds,
        *,
        version: str,
        states: Bounds | None = None,
        config: OpenVlaPolicyConfig | None = None,
    ) -> None:
        """Take a loaded network, its tokenizer and its statistics.

        Args:
            network: Weights; set to evaluation mode here.
            encode: The tokenizer of the weights.
            actions: From [-1, 1] to Bridge units.
            version: Stamped on every chunk.
            states: Statistics of the measured state, where the network takes it.
            config: How it is used.
        """
        if (states is None) != (network.proprio is None):
            raise InputError("states: statistics are needed exactly where the weights take states")
        self._network, self._encode = network.eval(), encode
        self._actions, self._states, self._version = actions, states, version
        self._config = config or OpenVlaPolicyConfig()
        self._centers = network.bin_centers().numpy()
        self._generator = torch.Generator().manual_seed(0)
        self._prompt: list[int] = []
        self._chunk_id = 0

    @property
    def version(self) -> str:
        """Version of the weights."""
        return self._version

    @property
    def sizes(self) -> OpenVlaConfig:
        """Sizes of the network."""
        return self._network.config

    @property
    def statistics(self) -> Bounds:
        """What turns bins into Bridge actions."""
        return self._actions

    @property
    def needs(self) -> PolicyNeeds:
        """What these weights were trained with."""
        second = self._config.second_camera
        return PolicyNeeds(
            cameras=(COLOR_CAMERA, second) if second else (COLOR_CAMERA,),
            min_image_px=self._config.picture.size_px,
            state=BRIDGE_STATE if self._states is not None else "",
            statistics=self._actions.name,
            chunk=self._config.chunk,
        )

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode; InputError when the instruction is empty."""
        self._prompt = prompt_ids(self._encode, instruction)
        self._generator.manual_seed(seed)

    def act(self, observation: Observation) -> Chunk:
        """Return the next K Bridge actions (K, 7)."""
        return self.sample(observation).chunk

    @torch.no_grad()
    def sample(self, observation: Observation) -> SampledChunk:
        """Return the next chunk with its bins and exact log-probabilities.

        Raises:
            InputError: No episode began, a picture is missing or too small, or the network gives
                no numbers.
        """
        if not self._prompt:
            raise InputError("policy: no instruction yet. Call reset with one first.")
        context = self._network.context(*self.prepare(observation))
        if self._config.decoding == "parallel":
            logits = self._network.parallel_logits(context, [self._prompt], self._config.chunk)
            bins = self._draw(logits)
        else:
            bins, logits = self._network.decode(context, [self._prompt], self._draw)
        temperature = self._config.temperature or 1.0
        self._chunk_id += 1
        chunk = Chunk(
            actions=self._actions.unnormalize(self._centers[bins[0].numpy()]),
            weights_version=self._version,
            chunk_id=self._chunk_id,
            observation_stamp_ns=observation.stamp_ns,
        )
        return SampledChunk(chunk, bins[0], token_log_probs(logits.cpu(), bins, temperature)[0])

    def prepare(self, observation: Observation) -> tuple[Tensor, Tensor | None]:
        """Return the pictures (1, 6 N, S, S) and the scaled state (1, 7) of an observation."""
        pictures = [observation.image_hwc]
        if self._config.second_camera:
            pictures.append(observation.view(self._config.second_camera))
        least = self._config.picture.size_px
        for image in pictures:
            if min(image.shape[:2]) < least:
                raise InputError(
                    f"picture: is {image.shape[:2]} px, must be {least} or more on each side. "
                    f"Check the camera's resolution."
                )
        pixels = torch.cat([prepare_picture(image, self._config.picture) for image in pictures])
        if self._states is None:
            return pixels[None], None
        measured = bridge_state(observation.joints_rad, observation.gripper)
        return pixels[None], torch.from_numpy(self._states.normalize(measured)).float()[None]

    def _draw(self, logits: Tensor) -> Tensor:
        require_numbers(logits, self._version)
        rank, drawn_from = logits.dim(), logits.cpu()  # where the generator is
        shaped = drawn_from if rank == 4 else drawn_from[:, None]
        drawn = sample_tokens(shaped, self._config.temperature, self._generator)
        return drawn if rank == 4 else drawn[:, 0]


def prompt_ids(encode: Encode, instruction: str) -> list[int]:
    """Return the ids of OpenVLA's prompt, with the empty token that training put behind it.

    Raises:
        InputError: The instruction is empty, or the tokenizer is none of Llama's.
    """
    words = " ".join(instruction.lower().split())
    if not words:
        raise InputError("instruction is empty. Say what the robot shall do.")
    ids = list(encode(_PROMPT.format(words)))
    if not ids or ids[0] != START_TOKEN:
        raise InputError(
            f"tokenizer: a prompt begins with {ids[:1]}, must be [{START_TOKEN}]. "
            f"Take tokenizer.json of the folder that the weights are from."
        )
    return ids if ids[-1] == EMPTY_TOKEN else [*ids, EMPTY_TOKEN]


def chunk_log_probs(
    network: OpenVla,
    context_BPD: Tensor,
    prompts: Sequence[Sequence[int]],
    bins_BKA: Tensor,
    temperature: float,
) -> Tensor:
    """Return exact log-probabilities (B, K, 7) of chunks drawn at `temperature`, for the update.

    A single action (K = 1) of a network that decodes one by one goes through `causal_logits`
    instead; both sum to the chunk's log-probability.
    """
    logits = network.parallel_logits(context_BPD, prompts, bins_BKA.shape[1])
    return token_log_probs(logits, bins_BKA.to(logits.device), temperature)


def require_numbers(logits: Tensor, version: str) -> None:
    """Raise InputError when the network's output is not finite: nothing is proposed then."""
    if not logits.isfinite().all():
        raise InputError(
            f"{version}: the network's output is not finite. Nothing is executed; go back with: "
            f"robot-agent weights roll-back"
        )
