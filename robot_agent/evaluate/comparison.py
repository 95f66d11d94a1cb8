"""Policies against each other on the same start states, interleaved, wherever trials are run."""

import itertools
import random
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from robot_agent.core.errors import ConfigError
from robot_agent.evaluate.outcomes import Comparison, EarlyStop
from robot_agent.evaluate.sequential import SequentialTest, Verdict
from robot_agent.evaluate.suites import BLOCK_SEEDS, Assignment, Suite
from robot_agent.evaluate.trial_journal import (
    TrialJournal,
    TrialKey,
    TrialRecord,
    fingerprint_of_files,
    fingerprint_of_scene,
)
from robot_agent.evaluate.trial_runner import Job, TrialResult, TrialRunner
from robot_agent.sim.tasks import task_of

FIRST_SEED = 50_000
NUM_BLOCKS = 900
"""Evaluation owns the seeds 50,000 to 949,999. Recordings for training count from multiples of
1,000,003 and stay far below 50,000 of them."""
ATTEMPTS = 2
"""How often a trial is tried: an abort is repeated once on the same start state."""

OnTrial = Callable[[int, int, TrialRecord], None]
"""Called with finished trials, all trials and the newest one; may raise to stop."""


@dataclass(frozen=True)
class _Trial:
    """One trial of the plan."""

    job: Job
    key: TrialKey
    turn: int
    """Start state that it belongs to, counted through the plan."""
    counts: bool
    """Whether the sequential test looks at it: it is in the suite, not among the others."""


def compare(
    policies: Mapping[str, Path],
    runner: TrialRunner,
    suite: Suite,
    *,
    journal: Path,
    stop_early: SequentialTest | None = None,
    on_trial: OnTrial | None = None,
) -> Comparison:
    """Run each policy on the same start states of each assignment of a suite.

    Policies take turns on every start state, in an order that is drawn anew for each, so that a
    machine that slows down or warms up treats all alike and a person cannot tell them by it. A
    run that was stopped or killed goes on where it was: trials in `journal` are taken from there
    when weights, scene, instruction, seed, length, place and judge are the same. An abort is
    tried once more at once; a start state on which a policy stays aborted is left out of every
    pair with it.

    With `stop_early` the test looks at finished pairs in the order of the plan, and trials behind
    its verdict are not in the result: it does not depend on how many run at once.

    Args:
        policies: Name to the file or folder of its weights.
        runner: Runs the trials; knows the policies by the same names.
        suite: Where and what.
        journal: JSON-lines file of finished trials, made when missing.
        stop_early: Ends the comparison of two policies as soon as it knows.
        on_trial: Progress.

    Raises:
        ConfigError: Nothing to compare, no weights at a path, or too few pairs to stop early.
        RobotAgentError: A policy was refused, or a worker died; finished trials are kept.
    """
    plan = _plan(policies, runner, suite)
    if stop_early is not None:
        _require_enough(stop_early, policies, suite)
    with TrialJournal(journal) as finished:
        _run(plan, runner, finished, stop_early, on_trial)
        verdict, pairs, last = _decided(plan, finished, stop_early)
        records = [
            replace(_found(finished, trial), policy=trial.job.policy)
            for trial in plan
            if trial.turn <= last
        ]
    others = tuple(each.name for each in suite.others)
    stop = None
    if stop_early is not None:
        stop = EarlyStop(stop_early, verdict, pairs, len(suite.assignments) * suite.trials)
    return Comparison(tuple(policies), tuple(records), others, stop)


def seeds_of(scene: str, instruction: str, trials: int) -> range:
    """Return the seeds of a scene and instruction; more trials begin with those of fewer.

    Each pair of names has a block of its own, up to chance, so that tasks are independent. A
    scene in other physics, `home@real`, starts as the scene itself does.
    """
    scene = scene.partition("@")[0]
    block = zlib.crc32(f"{scene}\n{task_of(instruction)}".encode()) % NUM_BLOCKS
    start = FIRST_SEED + BLOCK_SEEDS * block
    return range(start, start + trials)


def _run(
    plan: Sequence[_Trial],
    runner: TrialRunner,
    finished: TrialJournal,
    stop_early: SequentialTest | None,
    on_trial: OnTrial | None,
) -> None:
    """Run what is missing until all is there, or the sequential test knows enough."""
    missing = {t.key: t for t in plan if not _is_final(finished.find(t.key))}
    total = len({trial.key for trial in plan})
    if _decided(plan, finished, stop_early)[0] != "undecided":
        return
    by_index = {trial.job.index: trial for trial in missing.values()}
    jobs = [_job(trial, finished) for trial in _shuffled(missing.values())]
    with closing(runner.run(jobs)) as attempts:
        for job, result in attempts:
            trial = by_index[job.index]
            record = _record(trial, runner, result, finished)
            finished.append(record)
            if _is_final(record):
                del missing[trial.key]
            if on_trial is not None:
                on_trial(total - len(missing), total, record)
            if stop_early and _decided(plan, finished, stop_early)[0] != "undecided":
                break


def _plan(policies: Mapping[str, Path], runner: TrialRunner, suite: Suite) -> list[_Trial]:
    """Return every trial, policies taking turns on each start state, assignments likewise."""
    if not policies:
        raise ConfigError("comparison of no policies: must have at least one. Name some.")
    weights = {name: fingerprint_of_files(path) for name, path in policies.items()}
    looked_up = [(each, fingerprint_of_scene(each.scene)) for each in suite.all_assignments]
    plan: list[_Trial] = []
    starts = itertools.product(range(suite.trials), looked_up)
    for turn, (index, (each, look)) in enumerate(starts):
        seed = seeds_of(each.scene.name, each.instruction, suite.trials)[index]
        for policy, letter in zip(policies, _letters(len(policies), each, seed), strict=True):
            job = Job(
                len(plan), policy, each.scene, each.instruction, seed, each.max_steps,
                letter=letter,
            )  # fmt: skip
            what = (weights[policy], look, each.instruction, seed, each.max_steps)
            key = (*what, runner.place, runner.judge)
            plan.append(_Trial(job, key, turn, each in suite.assignments))
    return plan


def _letters(count: int, assignment: Assignment, seed: int) -> list[str]:
    """Return the letter of each policy on one start state: its place in the turn."""
    letters = [chr(ord("A") + index % 26) * (1 + index // 26) for index in range(count)]
    random.Random(f"{assignment.name} {seed}").shuffle(letters)
    return letters


def _shuffled(trials: Iterable[_Trial]) -> list[_Trial]:
    """Return trials in the order in which they are run."""
    return sorted(trials, key=lambda trial: (trial.turn, trial.job.letter))


def _decided(
    plan: Sequence[_Trial], finished: TrialJournal, stop_early: SequentialTest | None
) -> tuple[Verdict, int, int]:
    """Return the verdict, its pairs and the turn that it fell on; all turns without one.

    Looks at start states in the order of the plan, up to the first that is not finished.
    """
    last = plan[-1].turn
    if stop_early is None:
        return "undecided", 0, last
    outcomes, turns = [], []
    for trial, other in zip(plan[::2], plan[1::2], strict=True):
        first, second = finished.find(trial.key), finished.find(other.key)
        if first is None or second is None or not (_is_final(first) and _is_final(second)):
            break
        if trial.counts and "abort" not in (first.outcome, second.outcome):
            outcomes.append((first.success, second.success))
            turns.append(trial.turn)
    verdict, pairs = stop_early.run(outcomes)
    return verdict, pairs, last if verdict == "undecided" else turns[pairs - 1]


def _require_enough(test: SequentialTest, policies: Mapping[str, Path], suite: Suite) -> None:
    if len(policies) != 2:
        raise ConfigError(
            f"stopping early with {len(policies)} policies, must be 2: the test compares a pair. "
            f"Name two, or leave out --stop-early."
        )
    pairs, needed = len(suite.assignments) * suite.trials, test.needed_pairs()
    if pairs < needed:
        raise ConfigError(
            f"stopping early: {pairs} pairs at most, must be {needed} to find a difference of "
            f"{test.min_effect} with power {test.power}. Use --trials "
            f"{-(-needed // len(suite.assignments))}, or state another --power or --min-effect."
        )


def _job(trial: _Trial, finished: TrialJournal) -> Job:
    before = finished.find(trial.key)
    return replace(trial.job, attempts=ATTEMPTS - (before.attempt if before else 0))


def _is_final(record: TrialRecord | None) -> bool:
    return record is not None and (record.outcome != "abort" or record.attempt >= ATTEMPTS)


def _found(finished: TrialJournal, trial: _Trial) -> TrialRecord:
    record = finished.find(trial.key)
    assert record is not None, f"trial {trial.key} was planned and neither run nor found"
    return record


def _record(
    trial: _Trial, runner: TrialRunner, result: TrialResult, finished: TrialJournal
) -> TrialRecord:
    job, (weights, look, *_) = trial.job, trial.key
    before = finished.find(trial.key)
    return TrialRecord(
        policy=job.policy,
        weights=weights,
        scene=job.scene.name,
        scene_parameters=look,
        instruction=job.instruction,
        seed=job.seed,
        max_steps=job.max_steps,
        place=runner.place,
        judge=runner.judge,
        attempt=before.attempt + 1 if before else 1,
        **vars(result),
    )
