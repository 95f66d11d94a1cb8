"""A published OpenVLA folder, loaded whole and asked once: what it is, and how long it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core.clock import Stopwatch
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.models.openvla import OpenVlaConfig
from robot_agent.models.openvla_folder import OpenVlaFolderConfig, load_openvla_policy
from robot_agent.models.openvla_policy import OpenVlaPolicyConfig
from robot_agent.models.openvla_tensors import num_parameters, tensor_map

_INSTRUCTION = "open the drawer"


@dataclass(frozen=True)
class FolderFinding:
    """What a folder turned out to be."""

    numbers: Mapping[str, Any]
    needs: PolicyNeeds
    unnormalize: Callable[[FloatArray], FloatArray]


def check_folder(
    folder: Path,
    unnorm_key: str,
    observation: Observation,
    *,
    is_parallel: bool,
    sizes: OpenVlaConfig | None = None,
) -> FolderFinding:
    """Load every tensor, act once on a recorded observation; errors as `load_openvla_policy`.

    Args:
        folder: As published, with safetensors.
        unnorm_key: Name of the statistics.
        observation: Enlarged when it is smaller than the network looks.
        is_parallel: OpenVLA-OFT with five actions, else OpenVLA with one.
        sizes: Of the vision encoders where they are not the published ones.
    """
    used = OpenVlaPolicyConfig() if is_parallel else _ONE_BY_ONE
    config = OpenVlaFolderConfig(unnorm_key=unnorm_key, policy=used)
    watch = Stopwatch()
    policy = load_openvla_policy(folder, config, version=folder.name, sizes=sizes)
    loaded_s = watch.seconds()
    policy.reset(_INSTRUCTION, 0)
    watch = Stopwatch()
    chunk = policy.act(enlarged(observation, policy.needs.min_image_px))
    numbers = {
        "tensors": len(tensor_map(policy.sizes)),
        "parameters": num_parameters(tensor_map(policy.sizes)),
        "load_s": loaded_s,
        "act_s": watch.seconds(),
        "largest_action": [float(value) for value in np.abs(chunk.actions).max(axis=0)],
    }
    return FolderFinding(numbers, policy.needs, policy.statistics.unnormalize)


_ONE_BY_ONE = OpenVlaPolicyConfig(decoding="autoregressive", chunk=1)


def enlarged(observation: Observation, least_px: int) -> Observation:
    """Return the observation with pictures whose sides are `least_px` or more."""
    image: ImageArray = observation.image_hwc
    factor = -(-max(least_px, 1) // min(image.shape[:2]))
    larger = image.repeat(factor, axis=0).repeat(factor, axis=1)
    return Observation(larger, observation.joints_rad, observation.gripper, 0)
