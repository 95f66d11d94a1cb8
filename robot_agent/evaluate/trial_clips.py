"""Pictures of a comparison for its page: start frames and clips of failures, bounded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from robot_agent.core.protocols import EpisodeStore
from robot_agent.core.types import ImageArray, Step
from robot_agent.evaluate.outcomes import Comparison
from robot_agent.evaluate.suites import Suite
from robot_agent.evaluate.trial_journal import TrialRecord
from robot_agent.evaluate.trial_workers import LoadPolicy

MAX_STARTS, MAX_FAILURES = 16, 8
MAX_FRAMES, MAX_EDGE_PX = 40, 160


@dataclass(frozen=True)
class Wanted:
    """Trials of which pictures are shown."""

    starts: tuple[TrialRecord, ...]
    """One of each task."""
    failures: tuple[TrialRecord, ...]
    """Failures and aborts, policies and tasks in turn."""


@dataclass(frozen=True)
class Pictures:
    """Frames (T, H, W, 3) uint8 by title."""

    starts: dict[str, ImageArray] = field(default_factory=dict)
    failures: dict[str, ImageArray] = field(default_factory=dict)


def worth_showing(comparison: Comparison) -> Wanted:
    """Return a trial of each task, and failures in turn from each task and policy."""
    starts: dict[str, TrialRecord] = {}
    failures: dict[tuple[str, str], list[TrialRecord]] = {}
    for record in comparison.records:
        starts.setdefault(record.task, record)
        if not record.success:
            failures.setdefault((record.task, record.policy), []).append(record)
    longest = max(map(len, failures.values()), default=0)
    in_turn = [
        records[turn]
        for turn in range(longest)
        for records in failures.values()
        if turn < len(records)
    ]
    return Wanted(tuple(starts.values())[:MAX_STARTS], tuple(in_turn[:MAX_FAILURES]))


def run_again(
    wanted: Wanted, policies: Mapping[str, Path], load: LoadPolicy, suite: Suite
) -> Pictures:
    """Return pictures of simulated trials, run once more: the same seeds give the same trial.

    Raises:
        RobotAgentError: A policy cannot be loaded.
    """
    from robot_agent.evaluate.trials import run_trial
    from robot_agent.sim.robot import SimRobot
    from robot_agent.sim.tasks import task_of

    scenes = {each.scene.name: each.scene for each in suite.all_assignments}
    robot, found = SimRobot(suite.assignments[0].scene), Pictures()
    for record in wanted.starts:
        robot.reset(record.seed, task_of(record.instruction), scenes[record.scene])
        found.starts[record.task] = small(robot.observe().image_hwc[None])
    loaded = {name: load(policies[name]) for name in {r.policy for r in wanted.failures}}
    for record in wanted.failures:
        steps: list[Step] = []
        run_trial(
            robot,
            loaded[record.policy],
            scenes[record.scene],
            record.instruction,
            record.seed,
            max_steps=record.max_steps,
            on_step=steps.append,
        )
        images = [step.observation.image_hwc for step in steps] + [robot.observe().image_hwc]
        found.failures[_title(record)] = small(np.stack(images))
    return found


def recorded(wanted: Wanted, store: EpisodeStore) -> Pictures:
    """Return pictures of trials that were recorded; others have none."""
    found, known = Pictures(), set(store.list())
    for record in wanted.starts:
        if record.episode_id in known:
            found.starts[record.task] = small(store.load(record.episode_id).images[:1])
    for record in wanted.failures:
        if record.episode_id in known:
            found.failures[_title(record)] = small(store.load(record.episode_id).images)
    return found


def small(images: Sequence[ImageArray] | ImageArray) -> ImageArray:
    """Return at most `MAX_FRAMES` frames with edges of at most `MAX_EDGE_PX`, by leaving out."""
    frames = np.asarray(images)
    every = -(-len(frames) // MAX_FRAMES)
    pixel = -(-max(frames.shape[1:3]) // MAX_EDGE_PX)
    return np.ascontiguousarray(frames[::every, ::pixel, ::pixel])


def _title(record: TrialRecord) -> str:
    end = f"{record.outcome} ({record.reason})" if record.reason else record.outcome
    return f"{record.task}, {record.policy}, start {record.seed}: {end}"
