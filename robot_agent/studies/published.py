"""The published experiments on the twin, with the simulator's state as truth.

Source: World-Gymnast, arXiv 2602.02454, sections 4.2 to 4.5. The `real` physics play the robot;
the trainer's physics are what hands, worlds and judges learned from, and what RL in a simulator
sees. What differs from the paper is told in `doc/learning.md`.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robot_agent.compose import ASSETS
from robot_agent.core.config import to_plain
from robot_agent.evaluate.comparison import compare
from robot_agent.evaluate.outcomes import Comparison
from robot_agent.evaluate.trial_runner import TrialRunner
from robot_agent.evaluate.trial_workers import SimRunner
from robot_agent.learn.imagine import Start
from robot_agent.models.tiny_team import POLICIES
from robot_agent.sim.household import household, scene_named
from robot_agent.sim.tasks import TWIN, tasks_of
from robot_agent.sim.variation import vary
from robot_agent.store.durable import make_folder
from robot_agent.studies.published_arms import (
    WEIGHTS,
    Arm,
    Workshop,
    collect_real,
    finetuned,
    in_simulator,
    in_worlds,
    iter_sft,
    train_arm,
)
from robot_agent.studies.published_config import PublishedStudyConfig
from robot_agent.studies.published_tables import Found, ledger_of
from robot_agent.studies.resumable import Say, Tell, outcomes_of, require_same
from robot_agent.studies.twin import (
    REAL,
    Place,
    free_starts,
    load_twin,
    places,
    spots,
    suite_of,
)
from robot_agent.studies.twin_team import TwinTeam, prepare_team

SFT, IMAGINED, SIMULATED = "SFT", "RL in the world model", "RL in the trainer's simulator"
PRACTICE_SEED, CHECK_SEED, COLLECT_SEED = 6_000_000, 6_400_000, 6_500_000
"""Where start frames and real episodes come from; trials have others."""
_PER_SEED = 10_000
_MAY_CHANGE = ("experiments", "seeds", "trials", "max_steps", "group", "workers")
"""What a study that goes on may be asked for otherwise: no training hangs on it."""
MakeRunner = Callable[[Mapping[str, Path], int], TrialRunner]
"""Policies and number of processes to what runs trials."""


@dataclass(eq=False)
class Compared:
    """Arms that met the same start states."""

    experiment: str
    wanted: Sequence[Place]
    others: Sequence[Place]
    arms: Sequence[Arm]


def sim_runner(policies: Mapping[str, Path], workers: int) -> TrialRunner:
    """Return what runs the trials: simulators in processes."""
    return SimRunner(policies, load_twin, workers=workers)


def run_published(
    out: Path, config: PublishedStudyConfig, say: Say, make_runner: MakeRunner = sim_runner
) -> dict[str, Any]:
    """Run what is not done yet and return the results.

    A study that was stopped or killed goes on where it was: recordings, networks, trained arms,
    checkpoints of practice and trials are kept in `out`.
    """
    torch.set_num_threads(1)  # members run side by side, one thread each
    done = 0

    def tell(words: str) -> None:
        say(done, words)

    fixed = {key: value for key, value in to_plain(config).items() if key not in _MAY_CHANGE}
    require_same(out / "study.json", fixed)
    team = prepare_team(out / "team", config.team, config.workers, tell)
    found: dict[str, Found] = {}
    for seed in range(config.seeds):
        shop = _workshop(out, config, team, seed, tell)
        for name in config.experiments:
            for compared in _EXPERIMENTS[name](shop):
                trials = outcomes_of(_compare(out, compared, config, make_runner, tell), seed)
                others = [place.assignment.name for place in compared.others]
                known = found.setdefault(compared.experiment, Found(others))
                known.add(trials, [arm.record for arm in compared.arms])
            done += 1
            tell(f"seed {seed}, experiment {name} is done")
    tables = {name: known.summary(name, config.group) for name, known in found.items()}
    return {
        "config": to_plain(config),
        "team": team.numbers,
        "experiments": tables,
        "ledger": ledger_of(tables),
    }


def _workshop(
    out: Path, config: PublishedStudyConfig, team: TwinTeam, seed: int, say: Tell
) -> Workshop:
    sft = out / "SFT" / WEIGHTS
    if not sft.exists():
        make_folder(sft.parent)
        shutil.copyfile(ASSETS / f"{POLICIES['tiny-twin'][0]}.safetensors", sft)
    return Workshop(out / f"seed-{seed}", config, team, sft, seed, say)


def _sft(shop: Workshop) -> Arm:
    return Arm(SFT, shop.sft, {"arm": SFT, "seed": shop.seed, "seconds": 0.0})


def _seeds(shop: Workshop, count: int, offset: int = 0) -> range:
    first = PRACTICE_SEED + _PER_SEED * shop.seed + offset
    return range(first, first + count)


def _frames(
    shop: Workshop, where: Iterable[Place], count: int = 0, offset: int = 0
) -> list[Start]:
    return spots(where, _seeds(shop, count or shop.config.frames, offset))


def _check(shop: Workshop, where: Iterable[Place]) -> list[Start]:
    """Return real first frames that no practice begins from: what is promised is asked there."""
    return spots(where, range(CHECK_SEED, CHECK_SEED + shop.config.check_frames))


def _imagined(shop: Workshop) -> Arm:
    real = places(REAL)
    train = in_worlds(shop, shop.team.worlds, _frames(shop, real), _check(shop, real))
    return train_arm(shop, IMAGINED, train)


def _main(shop: Workshop) -> Iterable[Compared]:
    real, simulated = places(REAL), places()
    arms = [
        _sft(shop),
        train_arm(shop, "Iter-SFT", iter_sft(shop, _frames(shop, real))),
        train_arm(
            shop, SIMULATED, in_simulator(shop, _frames(shop, simulated), is_state_known=True)
        ),
        _imagined(shop),
    ]
    yield Compared("1", real, (), arms)


def _oracles(shop: Workshop) -> Iterable[Compared]:
    """Swap in what cannot be had: first the true world, then the true outcome as well."""
    frames = _frames(shop, places(REAL))
    arms = [
        _sft(shop),
        _imagined(shop),
        *(
            train_arm(shop, name, in_simulator(shop, frames, is_state_known=known))
            for name, known in (
                ("true simulator, judge", False),
                ("true simulator, true state", True),
            )
        ),
    ]
    yield Compared("oracles", places(REAL), (), arms)


def _variants(shop: Workshop) -> Iterable[Compared]:
    real, config = places(REAL), shop.config
    base = _frames(shop, real)
    more: Mapping[str, list[Start]] = {
        "with distractors": _with_distractors(shop, real),
        "with new instructions": free_starts(real, _seeds(shop, config.frames)),
        "with more tasks": _frames(shop, _other_homes(shop), config.frames, _PER_SEED // 2),
    }
    check = _check(shop, real)
    arms = [_sft(shop), _imagined(shop)] + [
        train_arm(shop, name, in_worlds(shop, shop.team.worlds, [*base, *extra], check))
        for name, extra in more.items()
    ]
    yield Compared("2", real, (), arms)


def _with_distractors(shop: Workshop, where: Iterable[Place]) -> list[Start]:
    """Return frames of the same scenes with things about that no task is of, rendered anew."""
    found = []
    for index in range(shop.config.distractor_scenes):
        seed = _PER_SEED * shop.seed + index
        cluttered = [
            replace(place, scene=vary(place.scene, {"distractors": 1.0}, seed)) for place in where
        ]
        found += _frames(shop, cluttered, 1, index)
    return found


def _other_homes(shop: Workshop) -> list[Place]:
    """Draw tasks of other homes, none of them one of test-time training."""
    tested = set(shop.config.novel.values())
    known = [
        Place(scene_named(name + REAL), task)
        for name, home in household().items()
        for task in tasks_of(home.cell)
        if name not in tested
    ]
    rng = np.random.default_rng(shop.seed)
    chosen = rng.choice(len(known), min(shop.config.more_tasks, len(known)), replace=False)
    return [known[i] for i in sorted(chosen)]


def _test_time(shop: Workshop) -> Iterable[Compared]:
    """Train for each task in its novel scene alone; the three others show what was forgotten."""
    for task in TWIN:
        here = Place(scene_named(shop.config.novel[task.name] + REAL), task)
        others = [place for place in places(REAL) if place.task != task]
        arms = [_sft(shop), _from_frame(shop, here), _from_episodes(shop, here)]
        yield Compared(f"3, {task.name}", [here], others, arms)


def _from_frame(shop: Workshop, here: Place) -> Arm:
    starts, check = _frames(shop, [here], 1), _check(shop, [here])
    train = in_worlds(shop, shop.team.worlds, starts, check)
    return train_arm(shop, f"{here.task.name}, one frame", train)


def _from_episodes(shop: Workshop, here: Place) -> Arm:
    """Finetune the worlds on a few real episodes of SFT, and begin at their first frames."""
    num, first = shop.config.test_time_episodes, COLLECT_SEED + _PER_SEED * shop.seed
    episodes = collect_real(shop, shop.sft, [here], num, first)
    worlds = finetuned(shop, shop.team.worlds, episodes, shop.out / f"worlds_{here.task.name}")
    starts = spots([here], range(first, first + num))
    train = in_worlds(shop, worlds, starts, _check(shop, [here]))
    return train_arm(shop, f"{here.task.name}, {num} episodes", train)


def _dyna(shop: Workshop) -> Iterable[Compared]:
    """Collect with the newest policy, finetune the worlds on all of it, go on training."""
    config, real = shop.config, places(REAL)
    arms, worlds, episodes = [_sft(shop)], shop.team.worlds, []
    for index in range(config.rounds):
        first = COLLECT_SEED + _PER_SEED * shop.seed + 1000 * (index + 1)
        newest = arms[-1]
        episodes += collect_real(shop, newest.weights, real, config.round_episodes, first)
        worlds = finetuned(shop, worlds, episodes, shop.out / f"worlds_round_{index + 1}")
        train = in_worlds(shop, worlds, _frames(shop, real), _check(shop, real))
        arms.append(train_arm(shop, f"round {index + 1}", train, newest))
    yield Compared("4", real, (), arms)


_EXPERIMENTS: Mapping[str, Callable[[Workshop], Iterable[Compared]]] = {
    "1": _main,
    "2": _variants,
    "3": _test_time,
    "4": _dyna,
    "oracles": _oracles,
}


def _compare(
    out: Path,
    compared: Compared,
    config: PublishedStudyConfig,
    make_runner: MakeRunner,
    say: Tell,
) -> Comparison:
    policies = {arm.name: arm.weights for arm in compared.arms}
    suite = suite_of(
        compared.experiment,
        compared.wanted,
        compared.others,
        trials=config.trials,
        max_steps=config.max_steps,
    )
    return compare(
        policies,
        make_runner(policies, config.workers),
        suite,
        journal=out / "trials.jsonl",
        on_trial=lambda done, total, _: say(f"trials of {compared.experiment}: {done}/{total}"),
    )
