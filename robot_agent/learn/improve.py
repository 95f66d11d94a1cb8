"""Adapt to a scene in rounds: collect, compare, finetune, trust, practise, prove, swap.

`improve` is the slow loop. Its arguments are the architecture: a robot that runs episodes, the
store they lie in, the networks it starts from, and the desk that turns weights into a release.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from robot_agent.core.config import require_range
from robot_agent.core.protocols import EpisodeStore
from robot_agent.core.types import Episode
from robot_agent.learn.budget import Budget
from robot_agent.learn.corrections import CorrectionConfig, is_corrected, without_corrections
from robot_agent.learn.data import Episodes, episodes_from_store
from robot_agent.learn.imagine import ImagineConfig
from robot_agent.learn.journal import RoundRecord, RunFolder
from robot_agent.learn.judging import ClipReward
from robot_agent.learn.practice import PracticeConfig
from robot_agent.learn.reality import replay
from robot_agent.learn.scene_world import SceneWorldConfig, finetune_members
from robot_agent.learn.source import EpisodeSource, plan_episodes
from robot_agent.learn.stages import compare, final_check, learn
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_team import INSTRUCTIONS, TinyTeam
from robot_agent.store.start_frames import StartFrame


@dataclass(frozen=True, kw_only=True)
class ImproveConfig:
    """How an adaptation spends its rounds."""

    rounds: int = 2
    first_seed: int = 7_000_000
    """Of the real episodes (simulation only); evaluation never uses these."""
    final_episodes: int = 8
    """Real episodes after the last round, to compare it with what imagination promised."""
    world: SceneWorldConfig = field(default_factory=SceneWorldConfig)
    corrections: CorrectionConfig = field(default_factory=CorrectionConfig)
    practice: PracticeConfig = field(default_factory=PracticeConfig)
    real_threshold: float = 0.25
    """Probability from which the held-out judge calls a real episode a success; calibrated on
    trials at home and play in broad scenes, measured in others: see doc/judges.md."""
    reward: str = ""
    """YAML file of the vision-language judge that is the reward of practice, its audit beside it;
    empty: the shipped classifiers. What imagination promises is always theirs."""
    starts_at_failures: bool = False
    """Begin imagined episodes half-way through failed ones too."""
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
    captured: Sequence[StartFrame] = ()
    safe_horizon: int | None = None
    """Imagined steps that agree with reality here, as the trust report says; None: no limit."""

    def within_horizon(self, config: ImproveConfig) -> ImagineConfig:
        """Return how to imagine in this scene: the configuration inside the safe horizon."""
        return dataclasses.replace(config.practice.imagine, safe_horizon=self.safe_horizon)


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
    captured: Sequence[StartFrame] = ()
    """Views of the scene that an operator captured; practice starts there too."""
    reward: ClipReward | None = None
    """Judge of clips that is the reward of practice; None: the team's judges of frames."""


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
        record = slow.run.load_open(index, slow.desk.current)
        record = record or RoundRecord(index=index, version_before=slow.desk.current)
        episodes = _collect(slow, order, config, record, records)
        slow.run.strike_out(records, slow.desk.current)
        record.version_before = slow.desk.current  # a probation may have ended meanwhile
        evidence = _finetune(slow, config, record, episodes, order.instructions)
        kept = compare(slow, config, record, records, evidence)
        tasks = kept if record.trusted else []
        corrected = _corrected_tasks(config, episodes)
        evidence.instructions = [t for t in order.instructions if t in (*tasks, *corrected)]
        if evidence.instructions and not slow.budget.is_over():
            learn(slow, config, record, evidence, tasks)
            _release(slow, record, evidence)
        records = [*records, record]
        slow.run.save_round(record)
    final_check(slow, order, config, records)
    return records


def _collect(
    slow: Slow,
    order: Order,
    config: ImproveConfig,
    record: RoundRecord,
    records: Sequence[RoundRecord],
) -> list[Episode]:
    """Run this round's share of real episodes; return all real episodes of this scene so far.

    Those of a round that was cut short afterwards are not run again.
    """
    if not record.episodes:
        record.episodes = _run_share(slow, order, config, record.index, records)
        slow.run.save_open(record)
    ids = [i for r in records for i in r.episodes] + record.episodes
    return [slow.store.load(i) for i in ids]


def _run_share(
    slow: Slow,
    order: Order,
    config: ImproveConfig,
    index: int,
    records: Sequence[RoundRecord],
) -> list[str]:
    used = sum(len(r.episodes) for r in records)
    left = order.max_real_episodes - used - config.final_episodes
    share = max(0, left // (config.rounds - index))
    slow.budget.say("collect", index, 0.0, f"{share} real episodes")
    plan = plan_episodes(order.instructions, share, config.first_seed + 10_000 * index)
    return slow.robot.collect(slow.desk.current, plan)


def _corrected_tasks(config: ImproveConfig, episodes: Sequence[Episode]) -> set[str]:
    """Return the tasks of which there are corrections to imitate."""
    if not config.corrections.supervised:
        return set()
    return {episode.instruction for episode in episodes if is_corrected(episode)}


def _finetune(
    slow: Slow,
    config: ImproveConfig,
    record: RoundRecord,
    episodes: Sequence[Episode],
    tasks: Sequence[str],
) -> Evidence:
    """Finetune the members on the scene and hold them against held-out real frames."""
    seen = episodes if config.corrections.world else without_corrections(episodes)
    worlds, trust = finetune_members(
        slow.team.worlds,
        episodes_from_store(seen),
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
        captured=slow.captured,
        safe_horizon=trust.numbers.get("safe_horizon") or None,
    )


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
