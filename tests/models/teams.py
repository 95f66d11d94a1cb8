"""Untrained teams of the tiny tier, in memory and as a folder of assets."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save as save_arrays
from safetensors.torch import save
from torch import nn

from robot_agent.models.tiny_judge import TinyJudge
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_team import TinyTeam
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig
from tests.contracts.worlds import observations

SMALL = TinyWorldConfig(channels=(16, 24, 32), condition=32)
"""A world model that tests can afford; the shipped ones have the default size."""


def untrained_team(
    seed: int = 0, members: int = 1, world: TinyWorldConfig | None = None
) -> TinyTeam:
    torch.manual_seed(seed)
    return TinyTeam(
        policy=TinyPolicy().eval(),
        worlds=[TinyWorld(world).eval() for _ in range(members)],
        held_out_world=TinyWorld(world).eval(),
        judges=[TinyJudge().eval() for _ in range(members)],
        held_out_judge=TinyJudge().eval(),
        hashes={},
    )


def write_team(folder: Path, seed: int = 0) -> None:
    """Write an untrained team as the shipped assets are laid out."""
    team = untrained_team(seed)
    networks: dict[str, nn.Module] = {
        "policy": team.policy,
        "world_a": team.worlds[0],
        "world_held_out": team.held_out_world,
        "judge_a": team.judges[0],
        "judge_held_out": team.held_out_judge,
    }
    files = {}
    for name, network in networks.items():
        content = save({k: v.contiguous() for k, v in network.state_dict().items()})
        (folder / f"{name}.safetensors").write_bytes(content)
        files[name] = {"sha256": hashlib.sha256(content).hexdigest()}
    manifest = {
        "worlds": ["world_a"],
        "held_out_world": "world_held_out",
        "judges": ["judge_a"],
        "held_out_judge": "judge_held_out",
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    seen = observations(2)
    home = {
        "images": np.stack([o.image_hwc for o in seen]),
        "joints_rad": np.stack([o.joints_rad for o in seen]),
        "gripper": np.array([o.gripper for o in seen]),
    }
    (folder / "home.safetensors").write_bytes(save_arrays(home))
