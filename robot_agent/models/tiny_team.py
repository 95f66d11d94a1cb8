"""The trained networks of the tiny tier, read from one folder and checked by hash."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load
from torch import Tensor, nn

from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.models.tiny_judge import TinyJudge
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_world import TinyWorld

MANIFEST = "manifest.json"
INSTRUCTIONS = ("open the drawer", "close the drawer")
"""Instructions of the shipped team, in the order of their ids."""
TWIN_INSTRUCTIONS = (
    *INSTRUCTIONS,
    "put the eggplant in the yellow basket",
    "put the eggplant in the blue sink",
)
"""Instructions of the shipped policy of AutoEval's twin; worlds and judges do not know it yet."""
POLICIES = {"tiny": ("policy", INSTRUCTIONS), "tiny-twin": ("policy_twin", TWIN_INSTRUCTIONS)}
"""Shipped policy to its file and its instructions."""


@dataclass(eq=False)
class TinyTeam:
    """Everything that the slow loop starts from."""

    policy: TinyPolicy
    worlds: list[TinyWorld]
    """Members that are finetuned and practised in; one is drawn per iteration."""
    held_out_world: TinyWorld
    """Never practised in; the gate asks it."""
    judges: list[TinyJudge]
    """Members whose minimum is the reward."""
    held_out_judge: TinyJudge
    """Never a reward; the gate and the reality check ask it."""
    hashes: Mapping[str, str]
    """SHA-256 of each file, for provenance."""


def load_team(folder: Path) -> TinyTeam:
    """Return the networks in `folder`; BundleRejectedError when a file is not the one claimed."""
    manifest = read_manifest(folder)
    files = manifest["files"]

    def read(name: str, network: nn.Module) -> Any:
        load_checked(folder / f"{name}.safetensors", files[name]["sha256"], network)
        return network.eval()

    return TinyTeam(
        policy=read("policy", TinyPolicy(TinyPolicyConfig(num_instructions=len(INSTRUCTIONS)))),
        worlds=[read(name, TinyWorld()) for name in manifest["worlds"]],
        held_out_world=read(manifest["held_out_world"], TinyWorld()),
        judges=[read(name, TinyJudge(len(INSTRUCTIONS))) for name in manifest["judges"]],
        held_out_judge=read(manifest["held_out_judge"], TinyJudge(len(INSTRUCTIONS))),
        hashes={name: entry["sha256"] for name, entry in files.items()},
    )


def load_shipped_policy(folder: Path, name: str) -> tuple[TinyPolicy, tuple[str, ...], str]:
    """Return a shipped policy, its instructions and its hash; ConfigError lists the names."""
    if name not in POLICIES:
        raise ConfigError(f"policy '{name}' is not shipped. Choose one of: {', '.join(POLICIES)}.")
    file, instructions = POLICIES[name]
    sha256 = str(read_manifest(folder)["files"][file]["sha256"])
    policy = TinyPolicy(TinyPolicyConfig(num_instructions=len(instructions)))
    load_checked(folder / f"{file}.safetensors", sha256, policy)
    return policy.eval(), instructions, sha256


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of the shipped weights; ConfigError when it is missing."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{folder / MANIFEST}: cannot be read ({error}). Install again."
        ) from error
    return manifest


def load_checked(path: Path, sha256: str, network: nn.Module) -> None:
    """Load weights whose bytes have the stated hash; every tensor must fit and be finite."""
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise BundleRejectedError(path.name, "sha256", found[:12], sha256[:12])
    load_into(network, load(content), path.name)


def load_into(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Copy tensors into a network; BundleRejectedError lists keys and shapes that do not fit."""
    own = network.state_dict()
    wrong = sorted(set(own) ^ set(tensors))
    wrong += [key for key in own if key in tensors and own[key].shape != tensors[key].shape]
    if wrong:
        raise BundleRejectedError(name, "tensors", ", ".join(wrong[:8]), "those of the network")
    broken = [key for key, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise BundleRejectedError(name, f"tensor {broken[0]}", "not finite", "finite")
    network.load_state_dict({key: tensor.to(own[key].dtype) for key, tensor in tensors.items()})
