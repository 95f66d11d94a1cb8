"""What the study of the published experiments runs, and how large."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.imagine import ImagineConfig
from robot_agent.learn.policy_training import PolicyTrainingConfig
from robot_agent.learn.practice import PracticeConfig
from robot_agent.learn.world_training import WorldTrainingConfig
from robot_agent.sim.household import scene_named
from robot_agent.sim.tasks import TWIN
from robot_agent.studies.twin_team import TwinTeamConfig

EXPERIMENTS = {
    "1": "SFT, Iter-SFT, RL in the trainer's simulator, RL in the world model",
    "2": "RL in the world model with distractors, new instructions, more tasks",
    "3": "test-time training in novel scenes, from one frame and from five episodes",
    "4": "Dyna: rounds of collecting, finetuning and training",
    "oracles": "the true simulator for the world model, and the true state for the judge",
}
_NOVEL = {
    "open": "evening_kitchen",
    "close": "bright_loft",
    "to_basket": "family_sink",
    "to_sink": "breakfast_sink",
}


def _finetuning() -> WorldTrainingConfig:
    fit = FitConfig(steps=120, learning_rate=5e-4, warmup_steps=10)
    return WorldTrainingConfig(fit=fit, frames=50, unroll=(5,), stages=(1.0,))


@dataclass(frozen=True, kw_only=True)
class PublishedStudyConfig:
    """Sizes; the defaults are those of the paper where it names them and they fit two cores."""

    experiments: tuple[str, ...] = tuple(EXPERIMENTS)
    seeds: int = 1
    """Trainings of every arm; start states of the trials are the same for all."""
    trials: int = 50
    """Start states of each task."""
    max_steps: int | None = None
    """Steps of a trial; AutoEval's 70 and 100 by default."""
    group: int = 10
    """Trials of one group, as AutoEval reports them."""
    workers: int = 2
    frames: int = 20
    """Start frames of each task."""
    check_frames: int = 4
    """First frames of each task from which imagination says what it promises, before and after."""
    distractor_scenes: int = 10
    """Rearrangements of each task's scene with distractors."""
    more_tasks: int = 5
    """Further tasks in other homes, drawn at random."""
    novel: Mapping[str, str] = field(default_factory=lambda: dict(_NOVEL))
    """Task to the novel scene of its test-time training."""
    test_time_episodes: int = 5
    rounds: int = 3
    """Of Dyna."""
    round_episodes: int = 10
    """Real episodes of each task and round; the paper has about 100 in all."""
    demonstrations: int = 200
    """Of each cell, for Iter-SFT."""
    team: TwinTeamConfig = field(default_factory=TwinTeamConfig)
    practice: PracticeConfig = field(
        default_factory=lambda: PracticeConfig(imagine=ImagineConfig(chunks=8))
    )
    """40 steps, as in the paper."""
    sft: PolicyTrainingConfig = field(
        default_factory=lambda: PolicyTrainingConfig(fit=FitConfig(steps=300, learning_rate=3e-4))
    )
    """Of Iter-SFT."""
    finetune: WorldTrainingConfig = field(default_factory=_finetuning)

    def __post_init__(self) -> None:
        """Check ranges and names."""
        for name, low, high in (
            ("seeds", 1, 100),
            ("trials", 1, 1000),
            ("group", 1, 1000),
            ("frames", 1, 1000),
            ("check_frames", 1, 1000),
            ("distractor_scenes", 1, 1000),
            ("more_tasks", 1, 100),
            ("test_time_episodes", 1, 100),
            ("rounds", 1, 20),
            ("round_episodes", 1, 1000),
            ("demonstrations", 2, 100_000),
        ):
            require_range(name, getattr(self, name), low, high)
        unknown = [name for name in self.experiments if name not in EXPERIMENTS]
        if unknown or not self.experiments:
            raise ConfigError(
                f"experiments {', '.join(unknown) or 'none'}: choose from: "
                f"{', '.join(EXPERIMENTS)}."
            )
        if set(self.novel) != {task.name for task in TWIN}:
            raise ConfigError(
                f"novel names {', '.join(self.novel)}, must be a scene for each of: "
                f"{', '.join(task.name for task in TWIN)}."
            )
        for task in TWIN:
            cell = scene_named(self.novel[task.name]).cell
            if cell != task.cell:
                raise ConfigError(
                    f"novel.{task.name}: {self.novel[task.name]} is a {cell}, must be a "
                    f"{task.cell}. Choose another: robot-agent scenes list"
                )
