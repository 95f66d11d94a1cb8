"""Adapt to a scene in rounds: collect, compare, finetune, trust, practise, prove, swap.

`improve` is the slow loop. Its arguments are the architecture: a robot that runs episodes, the
store they lie in, the networks it starts from, and the desk that turns weights into a release.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from robot_agent.core.config import require_range
from robot_agent.core.protocols import EpisodeStore
from robot_agent.core.types import Episode
from robot_agent.learn.budget import Budget
from robot_agent.learn.data import Episodes, episodes_from_store
from robot_agent.learn.journal import RoundRecord, RunFolder
from robot_agent.learn.practice import PracticeConfig, imagined_success, practise
from robot_agent.learn.reality import (
    closed_loop_gaps,
    judged_outcomes,
    replay,
    run_by,
    start_frames,
)
from robot_agent.learn.scene_world import SceneWorldConfig, finetune_members, within
from robot_agent.learn.source import EpisodeSource, plan_episodes
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_team import INSTRUCTIONS, TinyTeam


@dataclass(frozen=True, kw_only=True)
class ImproveConfig:
    """How an adaptation spends its rounds."""

    rounds: int = 2
    first_seed: int = 7_000_000
    """Of the real episodes (simulation only); evaluation never uses these."""
    final_episodes: int = 8
    """Real episodes after the last round, to compare it with what imagination promised."""
    world: SceneWorldConfig = field(default_factory=SceneWorldConfig)
    practice: PracticeConfig = field(default_factory=PracticeConfig)
    real_threshold: float = 0.2
    """Probability from which the held-out judge calls a real episode a success. On 3,000 held-out
    pictures of broad play it then finds 95 % and 92 % of `open` and `close` at 4 % and 5 % false
    alarms; at 0.5 it finds 89 % and 87 %."""
    gap_limit: float = 0.3
    """Imagined less real success at which a task is no longer practised."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("rounds", self.rounds, 1, 20)
        require_range("real_threshold", self.real_threshold, 0.01, 0.99)
        require_range("gap_limit", self.gap_limit, 0.05, 1.0)
        require_range("final_episodes", self.final_episodes, 0, 100)


@dataclass(frozen=True)
class Order:
    """What is asked for."""

    scene: str
    instructions: tuple[str, ...]
    max_real_episodes: int


class ReleaseDesk(Protocol):
    """Turns weights into a proven release."""

    @property
    def current(self) -> str:
        """Version that acts now."""

    def release(
        self, policy: TinyPolicy, evidence: "Evidence", record: RoundRecord
    ) -> tuple[str, list[dict[str, object]]]:
        """Write, gate and publish; return the version ("" when refused) and the checks."""

    def restore(self, policy: TinyPolicy) -> None:
        """Load the acting version's weights into `policy`."""


@dataclass(eq=False)
class Evidence:
    """What the gate may ask about a candidate."""

    worlds: Sequence[TinyImagination]
    held_out_world: TinyImagination
    judge: ClassifierJudge
    held_out_judge: ClassifierJudge
    episodes: Sequence[Episode]
    instructions: Sequence[str]


@dataclass(eq=False)
class Slow:
    """The parts of the slow loop, composed once."""

    robot: EpisodeSource
    store: EpisodeStore
    team: TinyTeam
    replay: Episodes
    desk: ReleaseDesk
    run: RunFolder
    budget: Budget


def improve(slow: Slow, order: Order, config: ImproveConfig) -> list[RoundRecord]:
    """Run the rounds that are left and return the record of all; safe to stop anywhere.

    The active weights change only through the desk and the robot's own promotion. A task whose
    imagined success leaves the real one behind is not practised in that round.
    """
    torch.set_num_threads(1)  # members run side by side, one thread each
    records = slow.run.load_rounds()
    for index in range(len(records), config.rounds):
        if slow.budget.is_over():
            break
        record = RoundRecord(index=index, version_before=slow.desk.current)
        episodes = _collect(slow, order, config, record, records)
        slow.run.strike_out(records, slow.desk.current)
        record.version_before = slow.desk.current  # a probation may have ended meanwhile
        evidence = _finetune(slow, config, record, episodes, order.instructions)
        evidence.instructions = _compare(slow, config, record, records, evidence)
        if record.trusted and evidence.instructions and not slow.budget.is_over():
            _practise(slow, config, record, evidence)
            _release(slow, record, evidence)
        records = [*records, record]
        slow.run.save_round(record)
    _final_check(slow, order, config, records)
    return records


def _collect(
    slow: Slow,
    order: Order,
    config: ImproveConfig,
    record: RoundRecord,
    records: Sequence[RoundRecord],
) -> list[Episode]:
    """Run this round's share of real episodes; return all real episodes of this scene so far."""
    used = sum(len(r.episodes) for r in records)
    left = order.max_real_episodes - used - config.final_episodes
    share = max(0, left // (config.rounds - record.index))
    slow.budget.say("collect", record.index, 0.0, f"{share} real episodes")
    plan = plan_episodes(order.instructions, share, config.first_seed + 10_000 * record.index)
    record.episodes = slow.robot.collect(slow.desk.current, plan)
    ids = [i for r in records for i in r.episodes] + record.episodes
    return [slow.store.load(i) for i in ids]


def _compare(
    slow: Slow,
    config: ImproveConfig,
    record: RoundRecord,
    records: Sequence[RoundRecord],
    evidence: Evidence,
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


def _finetune(
    slow: Slow,
    config: ImproveConfig,
    record: RoundRecord,
    episodes: Sequence[Episode],
    tasks: Sequence[str],
) -> Evidence:
    """Finetune the members on the scene and hold them against held-out real frames."""
    worlds, trust = finetune_members(
        slow.team.worlds,
        episodes_from_store(episodes),
        slow.replay,
        config.world,
        config.seed + record.index,
        report=lambda share, text: slow.budget.say("finetune", record.index, share, text),
        max_seconds=slow.budget.seconds_left(),
    )
    record.trust, record.trusted = trust.numbers, trust.verdict != "refuse"
    slow.budget.say("trust", record.index, 1.0, f"{trust.verdict}: {trust.reason}")
    slow.run.save_worlds(worlds, record.index)
    members = [TinyImagination(world) for world in worlds]
    slow.run.save_clip(replay(members[0], episodes[-1]), f"replay_{record.index}")
    return Evidence(
        worlds=members,
        held_out_world=TinyImagination(slow.team.held_out_world),
        judge=ClassifierJudge(slow.team.judges, INSTRUCTIONS),
        held_out_judge=ClassifierJudge([slow.team.held_out_judge], INSTRUCTIONS),
        episodes=episodes,
        instructions=tasks,
    )


def _practise(slow: Slow, config: ImproveConfig, record: RoundRecord, evidence: Evidence) -> None:
    """Practise in imagination from the acting weights; the network of the team is changed."""
    policy = slow.team.policy
    slow.desk.restore(policy)
    starts = start_frames(evidence.episodes, evidence.instructions, INSTRUCTIONS)

    def on_iteration(step: int, total: int, metrics: dict[str, float]) -> None:
        text = f"imagined success {metrics['success']:.2f}, reward {metrics['reward']:.2f}"
        slow.budget.say("practise", record.index, step / total, text)

    result = practise(
        policy,
        evidence.worlds,
        evidence.judge,
        starts,
        within(config.practice, record.trust),
        seed=config.seed + 100 * record.index,
        on_iteration=on_iteration,
        is_over=slow.budget.is_over,
    )
    record.curve = result.curve
    slow.run.save_clip(result.clip, f"imagined_{record.index}")
    record.imagined_after = _promise(policy, evidence, config, starts_seed=record.index)


def _promise(
    policy: TinyPolicy, evidence: Evidence, config: ImproveConfig, starts_seed: int
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
            config.practice.imagine,
            seed=starts_seed,
            repeats=2,
        )
        for task, (rate, _) in found.items():
            rates.setdefault(INSTRUCTIONS[task], []).append(rate)
    return {task: sum(values) / len(values) for task, values in rates.items()}


def _release(slow: Slow, record: RoundRecord, evidence: Evidence) -> None:
    """Put the candidate before the gate and, when it passes, into the robot."""
    slow.budget.say("gate", record.index, 0.0, "checking the candidate")
    version, record.gate = slow.desk.release(slow.team.policy, evidence, record)
    if not version:
        slow.budget.say("gate", record.index, 1.0, "refused; the active weights keep running")
        return
    promoted, message = slow.robot.promote(version)
    record.version_after, record.not_acting = (version, "") if promoted else ("", version)
    record.seconds = slow.budget.seconds()
    slow.budget.say("swap", record.index, 1.0, message or f"{version} acts")


def _final_check(
    slow: Slow, order: Order, config: ImproveConfig, records: list[RoundRecord]
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
