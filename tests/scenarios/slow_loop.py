"""A whole slow loop of untrained tiny networks, small enough for tests, over a robot of paper."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core.types import Episode
from robot_agent.learn import improve as improve_module
from robot_agent.learn.budget import Budget
from robot_agent.learn.desk import DeskConfig, TinyDesk, bundle_contents
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.grpo import GrpoConfig
from robot_agent.learn.imagine import ImagineConfig, Start
from robot_agent.learn.improve import ImproveConfig, Order, Slow
from robot_agent.learn.journal import RunFolder
from robot_agent.learn.practice import PracticeConfig
from robot_agent.learn.proof import ProofConfig, policy_of
from robot_agent.learn.scene_world import SceneWorldConfig, Trust, finetune_members
from robot_agent.learn.world_training import WorldTrainingConfig
from robot_agent.models.tiny_team import INSTRUCTIONS
from robot_agent.models.tiny_vla import TinyVla
from robot_agent.release.bundle import write_bundle
from robot_agent.release.bundle_reader import read_bundle
from robot_agent.release.gate import GateConfig
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.states import State
from tests.contracts.worlds import observations
from tests.learn.episodes import moving_dot, real_episode
from tests.models.teams import SMALL, untrained_team
from tests.release.bundles import KEYRING, OPERATOR, TRAINER

Say = Callable[[str, int, float, float, str], None]

LENIENT = GateConfig(
    max_norm_ratio=100.0,
    max_latency_ms=10_000.0,
    judge_margin=0.5,
    world_margin=0.5,
    regression_margin=0.5,
    confidence_z=0.0,
)
IMAGINE = ImagineConfig(chunks=1)
TINY = ImproveConfig(
    rounds=2,
    final_episodes=2,
    gap_limit=1.0,
    world=SceneWorldConfig(
        training=WorldTrainingConfig(
            fit=FitConfig(steps=10, warmup_steps=1), frames=4, unroll=(2,), stages=(1.0,)
        ),
        held_out=1,
        horizon=2,
    ),
    practice=PracticeConfig(
        iterations=2, starts=2, group=2, imagine=IMAGINE, grpo=GrpoConfig(epochs=1)
    ),
)
ORDER = Order("kitchen", INSTRUCTIONS, max_real_episodes=6)


def silent(stage: str, index: int, share: float, left_s: float, message: str) -> None:
    """Say nothing."""


class MemoryStore:
    """Episodes in memory, with the manners of the real store."""

    def __init__(self) -> None:
        self._episodes: dict[str, Episode] = {}

    def append(self, episode: Episode) -> Path:
        self._episodes[episode.episode_id] = episode
        return Path(episode.episode_id)

    def load(self, episode_id: str) -> Episode:
        return self._episodes[episode_id]

    def list(self) -> Sequence[str]:
        return list(self._episodes)


class PaperRobot:
    """Episodes of noise that follow from weights and seed; promotes like the simulated source."""

    def __init__(self, store: MemoryStore, registry: Registry) -> None:
        self._store, self._registry = store, registry
        self.collected: list[tuple[str, int]] = []

    def collect(self, version: str, plan: Sequence[Any]) -> list[str]:
        ids = []
        for part in plan:
            for seed in range(part.seed, part.seed + part.count):
                made = real_episode(f"paper-{seed}", 4, instruction=part.instruction, seed=seed)
                made = dataclasses.replace(made, weights_versions=(version,) * 4)
                ids.append(self._store.append(made).name)
        self.collected.append((version, len(ids)))
        if self._registry.releases().states.get(version) is State.PROBATION:
            self._registry.advance(version, State.GOOD)
        return ids

    def promote(self, version: str) -> tuple[bool, str]:
        self._registry.advance(version, State.SHADOW)
        self._registry.activate(version)
        return True, f"{version} acts"

    def progress(self, *_: object) -> None:
        """Nobody listens."""


def home() -> list[Start]:
    return [Start(seen, index) for index, seen in enumerate(observations(2))]


def make_registry(folder: Path) -> Registry:
    """Return a registry whose factory release is an untrained policy."""
    registry = Registry(folder / "releases", KEYRING, RegistryConfig(min_free_gb=0.0))
    if not registry.current():
        contents = bundle_contents(
            untrained_team().policy,
            np.stack([start.observation.image_hwc for start in home()]),
            version=1,
            parent="",
            provenance={},
            report={},
        )
        write_bundle(folder / "factory", contents, OPERATOR)
        registry.install_factory(folder / "factory")
    return registry


def make_slow(
    folder: Path,
    *,
    say: Say = silent,
    store: Any = None,
    robot: Any = None,
    gate: GateConfig = LENIENT,
    minutes: float = 60.0,
) -> Slow:
    """Return a slow loop over `folder`, as a new process would compose it."""
    registry = make_registry(folder)
    store = store if store is not None else MemoryStore()
    desk = TinyDesk(
        registry,
        KEYRING,
        TRAINER,
        folder=folder / "run" / "candidates",
        home_starts=home(),
        config=DeskConfig(gate=gate, proof=ProofConfig(imagine=IMAGINE, repeats=1)),
        provenance={},
    )
    return Slow(
        robot=robot or PaperRobot(store, registry),
        store=store,
        team=untrained_team(world=SMALL),
        replay=moving_dot(3, 4),
        desk=desk,
        run=RunFolder(folder / "run"),
        budget=Budget(minutes, say),
    )


def load_policy(bundle: Path) -> TinyVla:
    """Return the policy of a release, as `compose.load_policy` does."""
    found = read_bundle(bundle, KEYRING)
    return TinyVla(policy_of(found), INSTRUCTIONS, version=found.label)


def trust_whatever_is_finetuned(patch: Any) -> None:
    """Go on to practice with members that two steps of finetuning could not make good."""

    def trusting(*arguments: Any, **named: Any) -> Any:
        worlds, trust = finetune_members(*arguments, **named)
        return worlds, Trust("train", "a test trusts it", trust.numbers)

    patch.setattr(improve_module, "finetune_members", trusting)


def practise_without_finetuning(patch: Any) -> None:
    """Go on to practice with the members as they are, for stories about something else."""

    def untouched(members: Any, *_: Any, report: Any, **__: Any) -> Any:
        report(1.0, "nothing learned")
        return [copy.deepcopy(member) for member in members], Trust("train", "a test", {})

    patch.setattr(improve_module, "finetune_members", untouched)
