"""What a burst of practice needs to go on after a kill: weights, optimiser, chance, what waits."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from robot_agent.core.config import to_plain
from robot_agent.learn.groups import WaitingGroups
from robot_agent.learn.grpo import TinyPolicyLearner
from robot_agent.learn.rollouts import Rollouts, tensors_of
from robot_agent.store.durable import replace_file, storage_errors

_CLIP = "clip"


@dataclasses.dataclass(eq=False)
class BurstState:
    """Everything of a burst that changes; one iteration leads from one state to the next."""

    learner: TinyPolicyLearner
    rng: np.random.Generator
    """Draws start frames."""
    generators: list[torch.Generator]
    """Of the update, then of each world."""
    waiting: WaitingGroups
    made_by: str
    """Fingerprint of seed, configuration and first weights: another burst's state is not taken."""
    iteration: int = 0
    curve: list[dict[str, float]] = dataclasses.field(default_factory=list)
    clip: NDArray[np.uint8] = dataclasses.field(
        default_factory=lambda: np.zeros((0, 64, 64, 3), np.uint8)
    )

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all; StorageError when the disk refuses."""
        tensors = {f"policy/{k}": v for k, v in self.learner.policy.trained().items()}
        for index, moments in self.learner.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": v for name, v in moments.items()}
        for index, generator in enumerate(self.generators):
            tensors[f"generator/{index}"] = generator.get_state()
        for index, part in enumerate(self.waiting.parts):
            tensors |= {f"waiting/{index}/{name}": v for name, v in tensors_of(part).items()}
        tensors[_CLIP] = torch.from_numpy(self.clip)
        words = {
            "made_by": self.made_by,
            "iteration": self.iteration,
            "version": self.learner.version,
            "curve": self.curve,
            "rng": self.rng.bit_generator.state,
            "dropped": self.waiting.dropped,
            "waiting": [[part.group, part.version] for part in self.waiting.parts],
        }
        whole = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        with storage_errors("writing a checkpoint of practice", path):
            replace_file(path, save(whole, {"state": json.dumps(words)}))

    def load(self, path: Path) -> bool:
        """Go on from a state that this burst saved; return whether there was one."""
        found = _read(path)
        if found is None or found[0]["made_by"] != self.made_by:
            return False
        words, tensors = found
        self.learner.policy.restore(_under("policy", tensors))
        self.learner.version = words["version"]
        self._load_optimizer(tensors)
        for index, generator in enumerate(self.generators):
            generator.set_state(tensors[f"generator/{index}"])
        self.waiting.parts = [
            Rollouts.from_tensors(_under(f"waiting/{index}", tensors), group, version)
            for index, (group, version) in enumerate(words["waiting"])
        ]
        self.waiting.dropped = words["dropped"]
        self.rng.bit_generator.state = words["rng"]
        self.iteration, self.curve = words["iteration"], words["curve"]
        self.clip = tensors[_CLIP].numpy()
        return True

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under("optimizer", tensors).items():
            index, _, moment = name.partition("/")
            state.setdefault(int(index), {})[moment] = tensor
        groups = self.learner.optimizer.state_dict()["param_groups"]
        self.learner.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Return what a checkpoint holds; None when there is none or it is not one of ours."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            words = json.loads((file.metadata() or {})["state"])
            names = file.keys()
            return dict(words), {name: file.get_tensor(name) for name in names}
    except (SafetensorError, KeyError, ValueError):
        return None


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}/"
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}


def fingerprint(policy: nn.Module, config: object, seed: int) -> str:
    """Return a digest of the weights before a burst, its configuration and its seed."""
    digest = hashlib.sha256(json.dumps([to_plain(config), seed], sort_keys=True).encode())
    for tensor in policy.state_dict().values():
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
