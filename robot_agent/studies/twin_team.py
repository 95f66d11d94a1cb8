"""World models and judges of the twin's four tasks: what the shipped ones do not know.

They learn from play of scripted hands in the trainer's physics, in scenes drawn broadly around
the cells; nothing of the physics that play the real robot.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from robot_agent.compose import load_team
from robot_agent.core.config import require_range, to_plain
from robot_agent.learn.checkpoint import fingerprint
from robot_agent.learn.data import Episodes, load_demonstrations, subset
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.judge_training import JudgeTrainingConfig, train_judge
from robot_agent.learn.training_checkpoint import Keep
from robot_agent.learn.world_training import WorldTrainingConfig, held_out_errors, train_world
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.tiny_judge import TinyJudge
from robot_agent.models.tiny_team import TWIN_INSTRUCTIONS, load_into
from robot_agent.models.tiny_world import TinyWorld
from robot_agent.sim.collect import Plan, collect
from robot_agent.sim.progress import shares_of_objects
from robot_agent.sim.recordings import open_recording, save_recording
from robot_agent.sim.tasks import TWIN
from robot_agent.store.durable import make_folder, replace_file
from robot_agent.studies.resumable import Tell, once

CELLS = ("drawer", "sink")
_HELD_OUT = 0.1
"""Share of the play, at its end, that measures and trains nothing."""


@dataclass(frozen=True, kw_only=True)
class TwinTeamConfig:
    """What worlds and judges learn from, and for how long."""

    play: int = 300
    """Episodes of play in each cell."""
    steps: int = 45
    """Of a play episode."""
    seed: int = 400
    world: WorldTrainingConfig = field(
        default_factory=lambda: WorldTrainingConfig(
            fit=FitConfig(steps=4000, learning_rate=1e-3),
            unroll=(3, 5, 8),
            stages=(0.4, 0.8, 1.0),
        )
    )
    """Beginning with the shipped worlds, which know a drawer on a table."""
    judge: JudgeTrainingConfig = field(default_factory=JudgeTrainingConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("play", self.play, 4, 100_000)
        require_range("steps", self.steps, 10, 200)
        require_range("seed", self.seed, 0, 1_000_000)


@dataclass(eq=False)
class TwinTeam:
    """The networks of the study, and the play that they learned from."""

    worlds: list[TinyWorld]
    held_out_world: TinyWorld
    judge: ClassifierJudge
    held_out_judge: ClassifierJudge
    play: Episodes
    numbers: dict[str, Any]
    """What worlds and judges show on play that they never saw."""


def prepare_team(out: Path, config: TwinTeamConfig, workers: int, say: Tell) -> TwinTeam:
    """Return the team in a folder, made there as far as it is missing; survives a kill."""
    make_folder(out)
    whole = _play(out, config, workers, say)
    count = max(1, round(_HELD_OUT * len(whole)))
    order = np.random.default_rng(config.seed).permutation(len(whole)).tolist()
    seen, unseen = subset(whole, order[:-count]), subset(whole, order[-count:])
    shipped = load_team()
    begun = [*shipped.worlds, shipped.held_out_world]
    worlds = [
        trained_world(
            out / f"world_{i}.safetensors", world, seen, config.world, config.seed + i, say=say
        )
        for i, world in enumerate(begun)
    ]
    judges = [_judge(out, i, seen, config, say) for i in range(3)]
    team = TwinTeam(
        worlds[:-1],
        worlds[-1],
        ClassifierJudge(judges[:-1], TWIN_INSTRUCTIONS),
        ClassifierJudge(judges[-1:], TWIN_INSTRUCTIONS),
        seen,
        {},
    )
    team.numbers = once(out / "team.json", lambda: _measure(team, unseen, config))
    return team


def _play(out: Path, config: TwinTeamConfig, workers: int, say: Tell) -> Episodes:
    paths = [out / f"play_{cell}.safetensors" for cell in CELLS]
    for path, cell in zip(paths, CELLS, strict=True):
        if not path.exists():
            plan = Plan(
                kind="play", num=config.play, seed=config.seed, cell=cell, steps=config.steps
            )
            save_recording(path, collect(plan, workers, partial(_tell_play, say, cell)))
    return play_of(paths)


def _tell_play(say: Tell, cell: str, done: int, total: int, _: float) -> None:
    say(f"play in the {cell}: {done}/{total}")


def play_of(paths: Sequence[Path]) -> Episodes:
    """Return play of several cells with the success of every one of the twin's instructions.

    What a judge's progress is taught, `openings_NT`, is the share of `sim.progress`.
    """
    joined, _ = load_demonstrations(paths)
    steps = joined.actions_NTA.shape[1] + 1
    shares, successes = [], []
    for path in paths:
        recording = open_recording(path)
        is_loose = bool(recording.objects.any())
        share = shares_of_objects(recording.objects) if is_loose else recording.openings
        known = np.full((*recording.openings.shape, len(TWIN)), np.nan, np.float32)
        for own, task in enumerate(t for t in TWIN if t.cell == recording.cell):
            known[..., TWIN.index(task)] = recording.successes[..., own]
        shares.append(_padded(share.astype(np.float32), steps))
        successes.append(_padded(known, steps))
    return replace(joined, openings_NT=torch.cat(shares), successes_NTK=torch.cat(successes))


def _padded(values: Any, steps: int) -> Tensor:
    last = np.repeat(values[:, -1:], steps - values.shape[1], axis=1)
    return torch.from_numpy(np.concatenate([values, last], axis=1))


def trained_world(
    path: Path,
    begun: TinyWorld,
    episodes: Episodes,
    config: WorldTrainingConfig,
    seed: int,
    *,
    say: Tell,
    replay: Episodes | None = None,
) -> TinyWorld:
    """Return the world in a file; `begun`, trained in place, the first time. Survives a kill."""
    if path.exists():
        load_into(begun, load(path.read_bytes()), path.name)
        return begun.eval()
    keep = Keep(path.with_suffix(".training"), fingerprint(begun, config, seed), every=50)
    make_folder(path.parent)
    told = _told(say, path.stem)
    train_world(begun, episodes, config, seed, replay=replay, report=told, keep=keep)
    write_weights(path, begun)
    keep.path.unlink(missing_ok=True)
    return begun


def _judge(out: Path, index: int, seen: Episodes, config: TwinTeamConfig, say: Tell) -> TinyJudge:
    path = out / f"judge_{index}.safetensors"
    torch.manual_seed(config.seed + index)
    judge = TinyJudge(len(TWIN_INSTRUCTIONS))
    if path.exists():
        load_into(judge, load(path.read_bytes()), path.name)
        return judge.eval()
    train_judge(judge, seen, config.judge, config.seed + index, report=_told(say, path.stem))
    write_weights(path, judge)
    return judge


def _told(say: Tell, what: str) -> Any:
    def told(step: int, total: int, metrics: dict[str, float]) -> None:
        if step % 20 == 0 or step == total:
            say(f"{what}: {step}/{total}, loss {metrics['loss']:.3f}")

    return told


def write_weights(path: Path, network: nn.Module) -> None:
    """Write a network, whole or not at all."""
    make_folder(path.parent)
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    replace_file(path, save(tensors))


def _measure(team: TwinTeam, unseen: Episodes, config: TwinTeamConfig) -> dict[str, Any]:
    horizons = tuple(h for h in (1, 5, 10, 20) if h <= config.steps)
    judges = {"reward": team.judge, "held out": team.held_out_judge}
    return {
        "config": to_plain(config),
        "worlds": [
            held_out_errors(world, unseen, config.seed, horizons=horizons)
            for world in (*team.worlds, team.held_out_world)
        ],
        "judges": {name: judge_rates(judge, unseen) for name, judge in judges.items()},
    }


def judge_rates(judge: ClassifierJudge, episodes: Episodes) -> dict[str, Any]:
    """Return successes found and false alarms of each instruction on the last frames."""
    successes, images = episodes.successes_NTK, episodes.images_NTHWC.numpy()
    assert successes is not None, "play of the twin knows its successes"
    rows, found = np.arange(len(images)), {}
    last = episodes.lengths_N.numpy()
    for index, name in enumerate(judge.instructions):
        truth = successes[:, :, index].numpy()[rows, last]
        known = np.flatnonzero(~np.isnan(truth))
        ids, done = np.full(len(known), index), truth[known] > 0.5
        pairs = (images[known, 0], images[known, last[known]])
        right = judge.assess(*pairs, ids)[0] > 0.5 if len(known) else done
        found[name] = {
            "found": [int(right[done].sum()), int(done.sum())],
            "false_alarms": [int(right[~done].sum()), int((~done).sum())],
        }
    return found
