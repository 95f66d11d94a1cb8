"""The stages of a round that hold imagination against reality and learn in it."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from robot_agent.core.types import Episode
from robot_agent.learn.anchor import Anchor
from robot_agent.learn.corrections import corrections_of, imitate, takeover_starts
from robot_agent.learn.fit import Metrics
from robot_agent.learn.imagine import Start
from robot_agent.learn.journal import RoundRecord
from robot_agent.learn.practice import Burst, Safeguards, imagined_success
from robot_agent.learn.reality import (
    captured_starts,
    closed_loop_gaps,
    failure_starts,
    judged_outcomes,
    run_by,
    start_frames,
)
from robot_agent.learn.source import plan_episodes
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_team import INSTRUCTIONS

if TYPE_CHECKING:
    from robot_agent.learn.improve import Evidence, ImproveConfig, Order, Slow


def compare(
    slow: "Slow",
    config: "ImproveConfig",
    record: RoundRecord,
    records: Sequence[RoundRecord],
    evidence: "Evidence",
) -> list[str]:
    """Hold imagination against this round's real episodes; return the tasks to go on with.

    What the last round promised is compared first, for the record. The decision is made with the
    members that have just learned from these episodes: when the acting weights still succeed
    there and not in reality, the task stops.
    """
    fresh = [slow.store.load(i) for i in record.episodes]
    record.real_outcomes = judged_outcomes(evidence.held_out_judge, fresh, config.real_threshold)
    own, outcomes = run_by(record.version_before, fresh, record.real_outcomes)
    promised = records[-1].imagined_after if records and records[-1].version_after else {}
    kept = closed_loop_gaps(promised, own, outcomes, config.gap_limit)
    slow.desk.restore(slow.team.policy)
    record.imagined_before = _promise(slow.team.policy, evidence, config, record.index)
    now = closed_loop_gaps(record.imagined_before, own, outcomes, config.gap_limit)
    record.gaps = [f"promised; {gap}" for gap in kept] + [f"finetuned; {gap}" for gap in now]
    for line in record.gaps:
        slow.budget.say("compare", record.index, 1.0, line)
    stopped = {gap.instruction for gap in now if gap.stopped}
    return [task for task in evidence.instructions if task not in stopped]


def learn(
    slow: "Slow",
    config: "ImproveConfig",
    record: RoundRecord,
    evidence: "Evidence",
    tasks: Sequence[str],
) -> None:
    """Learn from corrections and practise `tasks` in imagination, from the acting weights.

    The network of the team is changed. Corrections are real, so they are imitated also where
    imagination is not trusted and no task is left to practise.
    """
    policy = slow.team.policy
    slow.desk.restore(policy)
    anchor = Anchor(policy, slow.replay)
    record.imitated = _imitate(slow, config, record, evidence.episodes, anchor)
    if tasks:
        guards = Safeguards(
            anchor=anchor,
            held_out_world=evidence.held_out_world,
            held_out_judge=evidence.held_out_judge,
            checkpoint=slow.run.folder / f"practice_{record.index}.safetensors",
        )
        starts = practice_starts(config, evidence, tasks)
        _practise(slow, config, record, evidence, starts=starts, guards=guards)
        record.imagined_after = _promise(policy, evidence, config, starts_seed=record.index)
        record.imagined_trials = 2 * min(16, len(evidence.episodes)) * len(evidence.worlds)


def _imitate(
    slow: "Slow",
    config: "ImproveConfig",
    record: RoundRecord,
    episodes: Sequence[Episode],
    anchor: Anchor,
) -> Metrics:
    if not config.corrections.supervised:
        return {}
    corrections = corrections_of(episodes, INSTRUCTIONS)

    def on_step(step: int, total: int, metrics: Metrics) -> None:
        if step % 10 == 0:
            text = f"{len(corrections)} corrected chunks, loss {metrics['loss']:.2f}"
            slow.budget.say("imitate", record.index, step / total, text)

    return imitate(
        slow.team.policy,
        corrections,
        anchor,
        config.corrections,
        config.seed + 100 * record.index,
        report=on_step,
        max_seconds=slow.budget.seconds_left(),
    )


def practice_starts(
    config: "ImproveConfig", evidence: "Evidence", tasks: Sequence[str]
) -> list[Start]:
    """Return where practice starts: first pictures, captured views, and trouble as configured."""
    starts = start_frames(evidence.episodes, tasks, INSTRUCTIONS)
    starts += captured_starts(evidence.captured, tasks, INSTRUCTIONS)
    if config.corrections.starts:
        before = config.corrections.before
        starts += takeover_starts(evidence.episodes, INSTRUCTIONS, tasks, before)
    if config.starts_at_failures:
        outcomes = judged_outcomes(
            evidence.held_out_judge, evidence.episodes, config.real_threshold
        )
        starts += failure_starts(evidence.episodes, outcomes, INSTRUCTIONS, tasks)
    return starts


def _practise(
    slow: "Slow",
    config: "ImproveConfig",
    record: RoundRecord,
    evidence: "Evidence",
    *,
    starts: Sequence[Start],
    guards: Safeguards,
) -> None:
    def on_iteration(step: int, total: int, metrics: dict[str, float]) -> None:
        text = f"imagined success {metrics['success']:.2f}, reward {metrics['reward']:.2f}"
        slow.budget.say("practise", record.index, step / total, text)

    burst = Burst(
        slow.team.policy,
        evidence.worlds,
        slow.reward or evidence.judge,
        starts,
        dataclasses.replace(config.practice, imagine=evidence.within_horizon(config)),
        seed=config.seed + 100 * record.index,
        safeguards=guards,
    )
    result = burst.run(on_iteration, slow.budget.is_over)
    record.curve, record.stopped = result.curve, result.stopped
    if result.stopped:
        slow.budget.say("practise", record.index, 1.0, result.stopped)
    slow.run.save_clip(result.clip, f"imagined_{record.index}")


def _promise(
    policy: TinyPolicy, evidence: "Evidence", config: "ImproveConfig", starts_seed: int
) -> dict[str, float]:
    """Return what imagination promises of these weights, per task, over all members."""
    starts = start_frames(evidence.episodes[:16], evidence.instructions, INSTRUCTIONS)
    rates: dict[str, list[float]] = {}
    for world in evidence.worlds:
        found = imagined_success(
            policy,
            world,
            evidence.judge,
            starts,
            evidence.within_horizon(config),
            seed=starts_seed,
            repeats=2,
        )
        for task, (rate, _) in found.items():
            rates.setdefault(INSTRUCTIONS[task], []).append(rate)
    return {task: sum(values) / len(values) for task, values in rates.items()}


def final_check(
    slow: "Slow", order: "Order", config: "ImproveConfig", records: list[RoundRecord]
) -> None:
    """Compare the last weights with reality too; the gaps go into the last record."""
    if not records or slow.budget.is_over():
        return
    last = records[-1]
    used = sum(len(r.episodes) for r in records)
    count = min(config.final_episodes, order.max_real_episodes - used)
    if count <= 0 or not last.version_after or last.final_outcomes:
        return
    slow.budget.say("collect", last.index, 0.0, f"{count} real episodes to check the last round")
    plan = plan_episodes(order.instructions, count, config.first_seed + 10_000 * config.rounds)
    last.final_episodes = slow.robot.collect(last.version_after, plan)
    fresh = [slow.store.load(i) for i in last.final_episodes]
    judge = ClassifierJudge([slow.team.held_out_judge], INSTRUCTIONS)
    last.final_outcomes = judged_outcomes(judge, fresh, config.real_threshold)
    own, outcomes = run_by(last.version_after, fresh, last.final_outcomes)
    slow.run.strike_out(records, slow.desk.current)
    gaps = closed_loop_gaps(last.imagined_after, own, outcomes, config.gap_limit)
    last.final_gaps = [str(gap) for gap in gaps]
    slow.run.save_round(last)
    for line in last.final_gaps:
        slow.budget.say("compare", last.index, 1.0, line)
