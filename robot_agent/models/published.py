"""Policies of other programs by architecture: a folder is loaded once, policies are made on it."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from safetensors import safe_open
from torch import nn

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError
from robot_agent.core.policy_needs import COLOR_CAMERA, PolicyNeeds
from robot_agent.core.types import Chunk, FloatArray, Observation
from robot_agent.models.moments import Moments

OPENVLA, OPENVLA_OFT, PI0, LEROBOT = "openvla-1", "openvla-oft-1", "pi0-1", "lerobot-1"
FAMILIES = {"openvla": OPENVLA, "openvla-oft": OPENVLA_OFT, "pi0": PI0, "lerobot": LEROBOT}
"""Name of the program that made a folder, to the architecture of the releases on it."""


@dataclass(frozen=True, kw_only=True)
class PublishedConfig:
    """How published weights are used; stands in the release, signed."""

    unnorm_key: str = "bridge_orig"
    """Name of the statistics."""
    chunk: int = 5
    """Actions of an inference that are executed; 1 for OpenVLA, which decodes one by one."""
    temperature: float = 0.0
    """Of OpenVLA's tokens; 0 takes the most likely ones."""
    center_crop: bool = False
    """Cut the outer tenth of the area off, for an OpenVLA trained with random crops."""
    uses_state: bool = False
    """Whether the weights look at the measured state; pi0 always does."""
    cameras: tuple[str, ...] = (COLOR_CAMERA,)
    """Pictures in the order of training."""
    is_bfloat16: bool = True
    """OpenVLA's published type; false takes float32."""
    bits: Literal[0, 4, 8] = 0
    """Of OpenVLA's language model where bitsandbytes quantises it; 0 leaves it."""
    steps: int = 10
    """Of pi0's flow."""
    features: tuple[str, ...] = ("observation.images.image_0",)
    """LeRobot's names of `cameras`."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("chunk", self.chunk, 1, 50)
        require_range("temperature", self.temperature, 0.0, 10.0)
        require_range("steps", self.steps, 1, 100)
        if not 1 <= len(self.cameras) <= 4 or self.cameras[0] != COLOR_CAMERA:
            raise ValueError(f"cameras={self.cameras} must be 1 to 4, the first '{COLOR_CAMERA}'")


class Scale(Protocol):
    """Statistics of actions."""

    @property
    def name(self) -> str:
        """Name of the training data."""

    def unnormalize(self, unit: FloatArray, /) -> FloatArray:
        """Map (..., 7) of the network to Bridge units."""


class PublishedPolicy(Protocol):
    """A `Policy` that says what scales its actions."""

    @property
    def version(self) -> str:
        """Version of the weights."""

    @property
    def needs(self) -> PolicyNeeds:
        """What the weights were trained with."""

    @property
    def statistics(self) -> Scale:
        """What turns the network's numbers into Bridge actions."""

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode."""

    def act(self, observation: Observation) -> Chunk:
        """Return the next chunk."""


@dataclass(frozen=True, eq=False)
class Resident:
    """A network that stays in memory; policies on it share its weights, not their adapters."""

    network: Any
    make: Callable[[Any, str], PublishedPolicy]
    """A policy on the network, or on a copy that shares its weights, and its version."""

    @functools.cached_property
    def weights_hash(self) -> str:
        """What adapters name their base by; computed once, seconds for 14 GB."""
        from robot_agent.models.openvla_lora import weights_hash

        return weights_hash(self.network)

    def policy(self, version: str, adapter: bytes = b"") -> PublishedPolicy:
        """Return a policy; no weight of the base is read, copied or changed.

        Raises:
            BundleRejectedError: The adapter belongs to another base, or does not fit.
        """
        from robot_agent.models.openvla_lora import apply_adapter, share

        network = share(self.network) if isinstance(self.network, nn.Module) else self.network
        if adapter:
            apply_adapter(adapter, network, self.weights_hash, version)
        return self.make(network, version)


def load_resident(architecture: str, folder: Path, config: PublishedConfig) -> Resident:
    """Load a published folder onto the GPU, or the CPU where there is none.

    Raises:
        ConfigError: The folder is of another program or variant, or the statistics do not fit.
        BundleRejectedError: Lists tensors that are missing, extra, misshapen, or not finite.
    """
    match architecture:
        case "openvla-1" | "openvla-oft-1":
            return _openvla(folder, config, is_parallel=architecture == OPENVLA_OFT)
        case "pi0-1":
            return _pi0(folder, config)
        case "lerobot-1":
            return _lerobot(folder, config)
    raise ConfigError(
        f"architecture '{architecture}' is unknown, must be one of: "
        f"{', '.join(FAMILIES.values())}. A newer program may know it."
    )


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _openvla(folder: Path, config: PublishedConfig, *, is_parallel: bool) -> Resident:
    from robot_agent.models.openvla_folder import OpenVlaFolderConfig, load_openvla_parts
    from robot_agent.models.openvla_images import PictureConfig
    from robot_agent.models.openvla_policy import OpenVlaPolicyConfig
    from robot_agent.models.openvla_quantised import quantize

    used = OpenVlaPolicyConfig(
        decoding="parallel" if is_parallel else "autoregressive",
        chunk=config.chunk,
        temperature=config.temperature,
        second_camera=config.cameras[1] if len(config.cameras) > 1 else "",
        picture=PictureConfig(center_crop=config.center_crop),
    )
    parts = load_openvla_parts(
        folder,
        OpenVlaFolderConfig(
            unnorm_key=config.unnorm_key,
            uses_state=config.uses_state,
            is_bfloat16=config.is_bfloat16,
            policy=used,
        ),
    )
    network = parts.network.to(_device())
    if config.bits:
        quantize(network, config.bits)
    return Resident(network, lambda on, version: parts.policy(version, on))


def _pi0(folder: Path, config: PublishedConfig) -> Resident:
    from robot_agent.models.openvla_folder import read_tokenizer
    from robot_agent.models.pi0_policy import (
        PROCESSOR_NAME,
        Pi0Policy,
        Pi0PolicyConfig,
        load_pi0,
        read_moments,
    )

    encode = read_tokenizer(folder / "tokenizer.json", has_start=False)
    statistics = read_moments(folder / PROCESSOR_NAME, config.unnorm_key)
    used = Pi0PolicyConfig(cameras=config.cameras, execute=config.chunk, steps=config.steps)
    return Resident(
        load_pi0(folder).to(_device()),
        lambda on, version: Pi0Policy(on, encode, statistics, version=version, config=used),
    )


def _lerobot(folder: Path, config: PublishedConfig) -> Resident:
    from robot_agent.models.lerobot_policy import (
        LeRobotConfig,
        LeRobotPolicy,
        load_lerobot_model,
    )
    from robot_agent.models.openvla_folder import read_json

    kind = read_json(folder / "config.json").get("type")
    if not isinstance(kind, str):
        raise ConfigError(f"{folder}/config.json: states no type, must name a LeRobot policy.")
    statistics = read_lerobot_moments(folder, config.unnorm_key)
    used = LeRobotConfig(
        cameras=dict(zip(config.cameras, config.features, strict=True)),
        execute=config.chunk,
        uses_state=config.uses_state,
    )
    return Resident(
        load_lerobot_model(folder, kind),
        lambda on, version: LeRobotPolicy(on, statistics, version=version, config=used),
    )


def read_lerobot_moments(folder: Path, name: str) -> tuple[Moments, Moments]:
    """Return the statistics of state and action that LeRobot's processors keep beside a policy.

    Raises:
        ConfigError: No safetensors of the folder holds means and spreads of both.
    """
    parts = ("observation.state", "action")
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            keys = set(file.keys())
            if {f"{part}.{kind}" for part in parts for kind in ("mean", "std")} <= keys:
                found = [
                    Moments(
                        name,
                        tuple(file.get_tensor(f"{part}.mean").double().tolist()),
                        tuple(file.get_tensor(f"{part}.std").double().tolist()),
                    )
                    for part in parts
                ]
                return found[0], found[1]
    raise ConfigError(
        f"{folder}: no file states observation.state.mean, .std, action.mean and .std. Save the "
        f"policy with LeRobot 0.4 or newer, whose processors keep them, normalised by MEAN_STD."
    )
