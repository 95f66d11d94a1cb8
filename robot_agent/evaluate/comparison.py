"""Policies against each other on the same start states, interleaved, in several processes."""

import itertools
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError
from robot_agent.evaluate.statistics import (
    CONFIDENCE,
    Interval,
    PairedDifference,
    count_pairs,
    paired_difference,
    wilson_interval,
)
from robot_agent.evaluate.trial_journal import (
    TrialJournal,
    TrialKey,
    TrialRecord,
    fingerprint_of_files,
    fingerprint_of_scene,
)
from robot_agent.evaluate.trial_workers import Job, LoadPolicy, run_jobs
from robot_agent.evaluate.trials import MAX_STEPS
from robot_agent.sim.scenes import Scene, task_of

FIRST_SEED = 50_000
BLOCK_SEEDS = 1_000
"""Seeds of one scene and instruction: the most trials that it can have."""
NUM_BLOCKS = 900
"""Evaluation owns the seeds 50,000 to 949,999. Recordings for training count from multiples of
1,000,003 and stay far below 50,000 of them."""

OnTrial = Callable[[int, int, TrialRecord], None]
"""Called with finished trials, all trials and the newest one; may raise to stop."""


@dataclass(frozen=True, kw_only=True)
class ComparisonConfig:
    """How much is run."""

    trials: int = 50
    """Start states for each scene and instruction; each policy meets all of them."""
    workers: int = 2
    max_steps: int = MAX_STEPS

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("trials", self.trials, 1, BLOCK_SEEDS)
        require_range("workers", self.workers, 1, 64)
        require_range("max_steps", self.max_steps, 1, 1000)


@dataclass(frozen=True)
class Rate:
    """Success of one policy."""

    successes: int
    trials: int

    @property
    def interval(self) -> Interval:
        """Wilson interval of the success rate."""
        return wilson_interval(self.successes, self.trials)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "successes": self.successes,
            "trials": self.trials,
            "interval": list(self.interval),
        }


@dataclass(frozen=True)
class Comparison:
    """Every trial of every policy, in the order of the plan."""

    policies: tuple[str, ...]
    records: tuple[TrialRecord, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names `scene: instruction`, in the order of the plan."""
        return tuple(dict.fromkeys(map(_task, self.records)))

    @property
    def scenes(self) -> tuple[str, ...]:
        """Names of the scenes, in the order of the plan."""
        return tuple(dict.fromkeys(record.scene for record in self.records))

    def rate(self, policy: str, *, scene: str = "", task: str = "") -> Rate:
        """Return the success of a policy, in one scene or task when named."""
        chosen = self._chosen(policy, scene, task)
        return Rate(sum(chosen.values()), len(chosen))

    def difference(
        self, first: str, second: str, *, scene: str = "", task: str = ""
    ) -> PairedDifference:
        """Return by how much `first` succeeds more often than `second` on the same starts."""
        ours, theirs = self._chosen(first, scene, task), self._chosen(second, scene, task)
        return paired_difference(count_pairs((ours[key], theirs[key]) for key in ours))

    def to_json(self) -> dict[str, Any]:
        """Return the results of `robot-agent evaluate`.

        In `pairs`, "a vs b" is a's success rate less b's: over all tasks, and under `tasks` in
        each.
        """
        pairs = list(itertools.combinations(self.policies, 2))
        return {
            "tasks": {
                task: {policy: self.rate(policy, task=task).to_json() for policy in self.policies}
                for task in self.tasks
            },
            "scenes": {
                scene: {p: self.rate(p, scene=scene).to_json() for p in self.policies}
                for scene in self.scenes
            },
            "pairs": {f"{a} vs {b}": self._pair(a, b) for a, b in pairs},
            "confidence": CONFIDENCE,
            "trials": [_plain_trial(record) for record in self.records],
        }

    def _pair(self, a: str, b: str) -> dict[str, Any]:
        by_task = {t: _plain_difference(self.difference(a, b, task=t)) for t in self.tasks}
        return {**_plain_difference(self.difference(a, b)), "tasks": by_task}

    def _chosen(self, policy: str, scene: str, task: str) -> dict[tuple[str, int], bool]:
        if policy not in self.policies:
            raise ConfigError(
                f"policy '{policy}' was not compared. Choose one of: {', '.join(self.policies)}."
            )
        return {
            (_task(record), record.seed): record.success
            for record in self.records
            if record.policy == policy
            and scene in ("", record.scene)
            and task in ("", _task(record))
        }


def compare(
    policies: Mapping[str, Path],
    load: LoadPolicy,
    scenes: Sequence[Scene],
    instructions: Sequence[str],
    *,
    journal: Path,
    config: ComparisonConfig | None = None,
    on_trial: OnTrial | None = None,
) -> Comparison:
    """Run each policy on the same seeds of each scene and instruction.

    Policies take turns on every start state, so that a machine that slows down or warms up
    treats all alike. A run that was stopped or killed goes on where it was: trials in `journal`
    are taken from there when weights, scene, instruction, seed and length are the same.

    Args:
        policies: Name to the file or folder of its weights.
        load: Makes a policy of such a path, inside each worker; a function at the top of a module.
        scenes: Places, each with a name of its own.
        instructions: What to do there.
        journal: JSON-lines file of finished trials, made when missing.
        config: How much to run.
        on_trial: Progress.

    Raises:
        ConfigError: Nothing to compare, two scenes of one name, or no weights at a path.
        InputError: An instruction of no known task.
        RobotAgentError: A policy was refused, or a worker died; finished trials are kept.
    """
    config = config or ComparisonConfig()
    plan = _plan(policies, scenes, instructions, config)
    with TrialJournal(journal) as finished:
        missing = {key: job for job, key in plan if finished.find(key) is None}
        total = len({key for _, key in plan})
        keys = {job.index: key for key, job in missing.items()}
        for job, success, steps in run_jobs(
            list(missing.values()), policies, load, config.workers
        ):
            record = _record(job, keys[job.index], success, steps)
            finished.append(record)
            del missing[keys[job.index]]
            if on_trial is not None:
                on_trial(total - len(missing), total, record)
        records = [_record(job, key, *_outcome(finished, key)) for job, key in plan]
    return Comparison(tuple(policies), tuple(records))


def seeds_of(scene: str, instruction: str, trials: int) -> range:
    """Return the seeds of a scene and instruction; more trials begin with those of fewer.

    Each pair of names has a block of its own, up to chance, so that tasks are independent. A
    scene in other physics, `home@real`, starts as the scene itself does.
    """
    scene = scene.partition("@")[0]
    block = zlib.crc32(f"{scene}\n{task_of(instruction)}".encode()) % NUM_BLOCKS
    start = FIRST_SEED + BLOCK_SEEDS * block
    return range(start, start + trials)


def _plan(
    policies: Mapping[str, Path],
    scenes: Sequence[Scene],
    instructions: Sequence[str],
    config: ComparisonConfig,
) -> list[tuple[Job, TrialKey]]:
    """Return every trial, policies taking turns on each start state, scenes and tasks likewise."""
    names = [scene.name for scene in scenes]
    if not (policies and names and instructions) or len(set(names)) < len(names):
        raise ConfigError(
            f"comparison of policies [{', '.join(policies)}] in scenes [{', '.join(names)}] on "
            f"{len(instructions)} instructions: must have at least one of each and no scene twice."
        )
    weights = {name: fingerprint_of_files(path) for name, path in policies.items()}
    wordings = dict.fromkeys(" ".join(i.lower().split()) for i in instructions)
    cells = list(itertools.product(scenes, wordings))
    seeds = {(s.name, i): seeds_of(s.name, i, config.trials) for s, i in cells}
    plan: list[tuple[Job, TrialKey]] = []
    for turn, (scene, instruction) in itertools.product(range(config.trials), cells):
        seed, look = seeds[scene.name, instruction][turn], fingerprint_of_scene(scene)
        for policy in policies:
            job = Job(len(plan), policy, scene, instruction, seed, config.max_steps)
            plan.append((job, (weights[policy], look, instruction, seed, config.max_steps)))
    return plan


def _outcome(journal: TrialJournal, key: TrialKey) -> tuple[bool, int]:
    record = journal.find(key)
    assert record is not None, f"trial {key} was planned and neither run nor found"
    return record.success, record.steps


def _record(job: Job, key: TrialKey, success: bool, steps: int) -> TrialRecord:
    weights, look, *_ = key
    return TrialRecord(
        policy=job.policy,
        weights=weights,
        scene=job.scene.name,
        scene_parameters=look,
        instruction=job.instruction,
        seed=job.seed,
        max_steps=job.max_steps,
        success=success,
        steps=steps,
    )


def _task(record: TrialRecord) -> str:
    return f"{record.scene}: {record.instruction}"


def _plain_difference(found: PairedDifference) -> dict[str, Any]:
    return {
        "difference": found.difference,
        "interval": list(found.interval),
        "p": found.p,
        "trials": found.pairs.trials,
    }


def _plain_trial(record: TrialRecord) -> dict[str, Any]:
    return {
        "policy": record.policy,
        "task": _task(record),
        "seed": record.seed,
        "success": record.success,
        "steps": record.steps,
    }
