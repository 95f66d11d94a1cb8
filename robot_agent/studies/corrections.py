"""What ten corrected episodes are worth: adaptations with and without them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from robot_agent.compose import (
    KEYRING,
    compose_slow_loop,
    ensure_releases,
    ensure_replay,
    load_policy,
)
from robot_agent.core.config import require_range, to_plain
from robot_agent.core.errors import ConfigError
from robot_agent.evaluate.comparison import compare
from robot_agent.evaluate.outcomes import Comparison
from robot_agent.evaluate.sim_source import SimSource
from robot_agent.evaluate.suites import suite_named
from robot_agent.evaluate.trial_workers import SimRunner
from robot_agent.learn.corrections import CorrectionConfig
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.improve import ImproveConfig, Order, improve
from robot_agent.learn.practice import PracticeConfig
from robot_agent.learn.scene_world import SceneWorldConfig
from robot_agent.learn.world_training import WorldTrainingConfig
from robot_agent.release.registry import Registry
from robot_agent.release.signing import load_keyring
from robot_agent.release.weights import ReleaseWeights
from robot_agent.sim.household import scene_named
from robot_agent.sim.operator import OperatorConfig, ScriptedOperator
from robot_agent.sim.tasks import TABLE
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.studies.resumable import (
    Key,
    Outcomes,
    Say,
    Tell,
    difference_of,
    once,
    outcomes_of,
    rate_of,
)

WITHOUT, BEFORE = "without", "before"
ARMS: Mapping[str, CorrectionConfig] = {
    WITHOUT: CorrectionConfig(),
    "with": CorrectionConfig(),
    "not imitated": CorrectionConfig(supervised=False),
    "not in the world": CorrectionConfig(world=False),
    "no starts": CorrectionConfig(starts=False),
    "only imitated": CorrectionConfig(world=False, starts=False),
    "blamed": CorrectionConfig(blame=0.1),
}
"""Arm to how it uses corrections; `without` gets none: nobody takes over its episodes."""


def _short_adaptation() -> ImproveConfig:
    fit = FitConfig(steps=50, learning_rate=5e-4, warmup_steps=10)
    training = WorldTrainingConfig(fit=fit, frames=50, unroll=(5,), stages=(1.0,))
    return ImproveConfig(
        rounds=1,
        final_episodes=0,
        world=SceneWorldConfig(training=training),
        practice=PracticeConfig(iterations=8),
    )


@dataclass(frozen=True, kw_only=True)
class CorrectionStudyConfig:
    """What is compared; one round each, shorter than the demo's."""

    scene: str = "kitchen"
    seeds: int = 3
    """Adaptations of each arm."""
    first_seed: int = 0
    """Of the first adaptation; the others follow, and each meets other episodes."""
    arms: tuple[str, ...] = (WITHOUT, "with")
    episodes: int = 20
    """Real episodes of every arm, on the same start states."""
    corrections: int = 10
    """How many of them the operator may correct."""
    trials: int = 40
    """Start states of each task in the new scene, and as many at home."""
    workers: int = 1
    adaptation: ImproveConfig = field(default_factory=_short_adaptation)

    def __post_init__(self) -> None:
        """Check ranges and names."""
        require_range("seeds", self.seeds, 1, 100)
        require_range("first_seed", self.first_seed, 0, 1_000_000)
        require_range("episodes", self.episodes, 4, 1000)
        require_range("corrections", self.corrections, 0, self.episodes)
        require_range("trials", self.trials, 1, 1000)
        scene_named(self.scene)
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or WITHOUT not in self.arms:
            raise ConfigError(
                f"arms {', '.join(self.arms)}: must hold '{WITHOUT}' and otherwise be of: "
                f"{', '.join(ARMS)}."
            )


def run_corrections(out: Path, config: CorrectionStudyConfig, say: Say) -> dict[str, Any]:
    """Run what is not done yet, seed by seed and arm by arm, and return the results.

    A study that was stopped goes on where it was: finished adaptations and trials are kept in
    `out`. Every arm of a seed meets the same start states; evaluation uses others.
    """
    runs: list[dict[str, Any]] = []
    outcomes: dict[str, dict[Key, bool]] = {}
    for seed in range(config.first_seed, config.first_seed + config.seeds):
        policies = {BEFORE: _shipped(out)}
        for arm in config.arms:
            run = _Arm(out, arm, seed, config, partial(say, len(runs))).run()
            runs.append(run)
            policies[arm] = Path(run["weights"])
        compared = _evaluate(out, policies, config, partial(say, len(runs)))
        for arm, found in outcomes_of(compared, seed).items():
            outcomes.setdefault(arm, {}).update(found)
        say(len(runs), f"seed {seed}: {_line(summary(outcomes, config.scene))}")
    return {"config": to_plain(config), "runs": runs, **summary(outcomes, config.scene)}


def _shipped(out: Path) -> Path:
    releases = out / "shipped"
    return releases / "bundles" / ensure_releases(releases)


class _Arm:
    """One adaptation in a folder of its own."""

    def __init__(
        self, out: Path, arm: str, seed: int, config: CorrectionStudyConfig, say: Tell
    ) -> None:
        self._arm, self._seed, self._config, self._say = arm, seed, config, say
        self._folder = out / f"{config.scene}-{seed}" / arm.replace(" ", "_")
        self._replay = out / "replay.safetensors"

    def run(self) -> dict[str, Any]:
        """Return how it went, from its folder when it is finished."""
        return once(self._folder / "arm.json", self._adapt)

    def _adapt(self) -> dict[str, Any]:
        config, releases = self._config, self._folder / "releases"
        ensure_releases(releases)
        adaptation = dataclasses.replace(
            config.adaptation,
            seed=self._seed,
            first_seed=7_000_000 + 100_000 * self._seed,
            corrections=ARMS[self._arm],
        )
        operator = None
        if self._arm != WITHOUT:
            operator = ScriptedOperator(OperatorConfig(corrections=config.corrections))
        store = EpisodeStore(self._folder / "episodes")
        weights, scene = ReleaseWeights(releases, load_policy), scene_named(config.scene)
        slow = compose_slow_loop(
            SimSource(scene, store, weights, self._progress, operator=operator),
            run=self._folder / "run",
            store=self._folder / "episodes",
            releases=releases,
            replay=ensure_replay(self._replay),
            minutes=600.0,
            say=self._progress,
            config=adaptation,
        )
        tasks = tuple(task.instruction for task in TABLE)
        (record,) = improve(slow, Order(config.scene, tasks, config.episodes), adaptation)
        registry = Registry(releases, load_keyring(releases / KEYRING))
        return {
            "arm": self._arm,
            "seed": self._seed,
            "weights": str(registry.path(record.version_after or registry.current())),
            "corrected": 0 if operator is None else operator.corrected,
            "succeeded": sum(record.real_outcomes),
            "gate_refused": [str(c["name"]) for c in record.gate if not c["passed"]],
            **{
                name: getattr(record, name)
                for name in ("gaps", "imagined_before", "imagined_after", "imitated", "seconds")
            },
        }

    def _progress(
        self, stage: str, _round: int, share: float, _left_s: float, message: str
    ) -> None:
        where = f"{self._config.scene}, seed {self._seed}, {self._arm}"
        self._say(f"{where}: {stage} {100 * share:.0f} %, {message}")


def _evaluate(
    out: Path, policies: Mapping[str, Path], config: CorrectionStudyConfig, say: Tell
) -> Comparison:
    return compare(
        policies,
        SimRunner(policies, load_policy, workers=config.workers),
        suite_named(config.scene, others="home", trials=config.trials),
        journal=out / "trials.jsonl",
        on_trial=lambda done, total, _: say(f"trials: {done}/{total}") if done % 40 == 0 else None,
    )


def summary(outcomes: Outcomes, scene: str) -> dict[str, Any]:
    """Return success per arm and the differences to `without`, in the scene and at home.

    Args:
        outcomes: Arm to (seed, scene, instruction, start state) to success.
        scene: The new scene; everything else is home.
    """
    arms, pairs = {}, {}
    for arm, found in outcomes.items():
        for place, chosen in _places(found, scene).items():
            arms[f"{arm}, {place}"] = rate_of(found, chosen)
            pair = difference_of(found, outcomes.get(WITHOUT, {}), chosen)
            if arm != WITHOUT and pair is not None:
                pairs[f"{arm} less {WITHOUT}, {place}"] = pair
    return {"arms": arms, "pairs": pairs}


def _places(found: Mapping[Key, bool], scene: str) -> dict[str, list[Key]]:
    here = [key for key in found if key[1] == scene]
    places = {scene: here, "home": [key for key in found if key[1] != scene]}
    for task in sorted({key[2] for key in here}):
        places[f"{scene}: {task}"] = [key for key in here if key[2] == task]
    return {name: keys for name, keys in places.items() if keys}


def _line(results: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name} {row['points']:+.0f} ({row['interval'][0]:+.0f} to {row['interval'][1]:+.0f})"
        for name, row in results["pairs"].items()
    )
