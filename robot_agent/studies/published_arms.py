"""How the arms of the published experiments train: each a policy in a folder of its own."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robot_agent.core.clock import Stopwatch
from robot_agent.core.types import Episode, Step
from robot_agent.evaluate.sim_source import episode_of
from robot_agent.evaluate.trials import run_trial
from robot_agent.learn.data import episodes_from_store, load_demonstrations
from robot_agent.learn.imagine import Imagination, Start, imagine
from robot_agent.learn.iter_sft import imitate_both, kept_chunks
from robot_agent.learn.judging import FrameJudge
from robot_agent.learn.practice import Burst, Safeguards, imagined_success
from robot_agent.learn.pretraining import read_policy
from robot_agent.learn.starts import draw_starts
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_team import TWIN_INSTRUCTIONS
from robot_agent.models.tiny_world import TinyWorld
from robot_agent.sim.collect import Plan, collect
from robot_agent.sim.recordings import save_recording
from robot_agent.sim.robot import SimRobot
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.studies.published_config import PublishedStudyConfig
from robot_agent.studies.published_tables import BASE
from robot_agent.studies.resumable import Tell, once
from robot_agent.studies.simulated import SimulatedWorld, TrueState
from robot_agent.studies.twin import Place, load_twin
from robot_agent.studies.twin_team import CELLS, TwinTeam, trained_world, write_weights

WEIGHTS = "policy.safetensors"


@dataclass(eq=False)
class Workshop:
    """What every arm of one seed is made with."""

    out: Path
    config: PublishedStudyConfig
    team: TwinTeam
    sft: Path
    """Weights that every arm begins with unless told otherwise."""
    seed: int
    say: Tell


Train = Callable[[TinyPolicy, Path], dict[str, Any]]
"""Improves a policy in place, keeps what it needs to resume in a folder, returns its record."""


@dataclass(frozen=True)
class Arm:
    """A trained policy."""

    name: str
    weights: Path
    record: dict[str, Any]


def train_arm(shop: Workshop, name: str, train: Train, base: Arm | None = None) -> Arm:
    """Return an arm, trained from `base` (SFT) the first time; one that was killed goes on.

    `seconds` are those of the process that finished it.
    """
    folder = shop.out / "".join(c if c.isalnum() else "_" for c in name)

    def make() -> dict[str, Any]:
        watch, policy = Stopwatch(), read_policy(base.weights if base else shop.sft)
        found = train(policy, folder)
        write_weights(folder / WEIGHTS, policy)
        words = {"arm": name, "base": base.name if base else BASE, "seed": shop.seed}
        return {**words, "seconds": watch.seconds(), **found}

    shop.say(name)
    return Arm(name, folder / WEIGHTS, once(folder / "arm.json", make))


def in_worlds(
    shop: Workshop,
    prepare: Callable[[], Sequence[TinyWorld]],
    starts: Sequence[Start],
    check: Sequence[Start],
) -> Train:
    """Return training by RL in imagination; its record says what was promised from `check`.

    What `prepare` does for its worlds, collecting and finetuning, is in the arm's seconds.
    """

    def train(policy: TinyPolicy, folder: Path) -> dict[str, Any]:
        members = [TinyImagination(world) for world in prepare()]
        before = _promises(shop, policy, members[0], check)
        found = _practise(shop, policy, members, shop.team.judge, starts, folder=folder)
        return {**found, "before": before, "after": _promises(shop, policy, members[0], check)}

    return train


def in_simulator(shop: Workshop, starts: Sequence[Start], *, is_state_known: bool) -> Train:
    """Return training by RL in a simulator, rewarded by its state or by the judge's look at it."""
    practice = shop.config.practice

    def train(policy: TinyPolicy, folder: Path) -> dict[str, Any]:
        num = practice.starts * practice.group
        with SimulatedWorld(num, processes=shop.config.workers) as world:
            judge = TrueState(world) if is_state_known else shop.team.judge
            return _practise(shop, policy, [world], judge, starts, folder=folder)

    return train


def _practise(
    shop: Workshop,
    policy: TinyPolicy,
    worlds: Sequence[Imagination],
    judge: FrameJudge,
    starts: Sequence[Start],
    *,
    folder: Path,
) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    burst = Burst(
        policy,
        worlds,
        judge,
        starts,
        shop.config.practice,
        seed=shop.seed,
        safeguards=Safeguards(checkpoint=folder / "practice.safetensors"),
    )

    def on_iteration(step: int, total: int, metrics: dict[str, float]) -> None:
        shop.say(f"{folder.name}: {step}/{total}, success in practice {metrics['success']:.2f}")

    result = burst.run(on_iteration)
    return {"curve": result.curve, "stopped": result.stopped, "starts": len(starts)}


def _promises(
    shop: Workshop, policy: TinyPolicy, member: Imagination, check: Sequence[Start]
) -> dict[str, Any]:
    """Return imagined success per task: by the pair that rewards, and by one held out."""
    team = shop.team
    pairs: dict[str, tuple[Imagination, FrameJudge]] = {
        "predicted": (member, team.judge),
        "held_out": (TinyImagination(team.held_out_world), team.held_out_judge),
    }
    imagine_config = shop.config.practice.imagine
    found = {}
    for name, (world, judge) in pairs.items():
        rates = imagined_success(
            policy, world, judge, check, imagine_config, seed=shop.seed, repeats=4
        )
        found[name] = {TWIN_INSTRUCTIONS[task]: list(rate) for task, rate in rates.items()}
    return found


def iter_sft(shop: Workshop, starts: Sequence[Start]) -> Train:
    """Return Iter-SFT: as many rollouts in the world model as RL has, then both at 1:1."""
    config, practice = shop.config, shop.config.practice
    world = TinyImagination(shop.team.worlds[0])

    def train(policy: TinyPolicy, folder: Path) -> dict[str, Any]:
        folder.mkdir(parents=True, exist_ok=True)
        rng, parts = np.random.default_rng(shop.seed), []
        generator = torch.Generator().manual_seed(shop.seed)
        for iteration in range(practice.iterations):
            shop.say(f"{folder.name}: imagining {iteration}/{practice.iterations}")
            parts.append(
                imagine(
                    world,
                    policy,
                    shop.team.judge,
                    draw_starts(starts, practice.starts, rng),
                    practice.imagine,
                    group=practice.group,
                    version=0,
                    generator=generator,
                )
            )
        kept = kept_chunks(parts, policy.bin_centers())
        metrics = imitate_both(policy, _demonstrations(shop), kept, config.sft, shop.seed)
        successes = sum(float(np.nansum(part.success_B)) for part in parts)
        return {**metrics, "imagined_successes": successes, "kept_chunks": len(kept)}

    return train


def _demonstrations(shop: Workshop) -> Any:
    paths = [shop.out.parent / f"demonstrations_{cell}.safetensors" for cell in CELLS]
    for path, cell in zip(paths, CELLS, strict=True):
        if not path.exists():
            steps, num = {"drawer": 45, "sink": 70}[cell], shop.config.demonstrations
            plan = Plan(kind="demonstration", num=num, seed=401, cell=cell, steps=steps)
            save_recording(path, collect(plan, shop.config.workers))
    demonstrations, instructions = load_demonstrations(paths)
    assert instructions == TWIN_INSTRUCTIONS, f"ids of {instructions} are not the policy's"
    return demonstrations


def finetuned(
    shop: Workshop, worlds: Sequence[TinyWorld], episodes: Sequence[Episode], folder: Path
) -> list[TinyWorld]:
    """Return copies of the worlds, finetuned on real episodes mixed with old play."""
    seen = episodes_from_store(episodes)
    return [
        trained_world(
            folder / f"world_{i}.safetensors",
            copy.deepcopy(world),
            seen,
            shop.config.finetune,
            shop.seed * 31 + i,
            say=shop.say,
            replay=shop.team.play,
        )
        for i, world in enumerate(worlds)
    ]


def collect_real(
    shop: Workshop, weights: Path, where: Sequence[Place], count: int, first_seed: int
) -> list[Episode]:
    """Return `count` recorded episodes in each place, run by a policy; kept in its folder.

    Their outcome is not recorded: no training may see the simulator's state.
    """
    store, policy = EpisodeStore(weights.parent / "episodes"), load_twin(weights)
    known, ids, robot = set(store.list()), [], None
    for place in where:
        for seed in range(first_seed, first_seed + count):
            name = f"{place.scene.name.replace('@', '-')}-{place.task.name}-{seed}"
            ids.append(name)
            if name in known:
                continue
            robot, steps = robot or SimRobot(place.scene), list[Step]()
            task = place.task.instruction
            run_trial(robot, policy, place.scene, task, seed, on_step=steps.append)
            store.append(episode_of(steps, robot.observe(), name, task, place.scene.name))
            shop.say(f"real episodes of {weights.parent.name}: {len(ids)}")
    if robot is not None:
        robot.world.close()
    return [store.load(name) for name in ids]
