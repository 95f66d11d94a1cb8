"""The published experiments: which arms each compares, and what they learn from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robot_agent.core.types import Episode
from robot_agent.learn.imagine import Start
from robot_agent.models.tiny_world import TinyWorld
from robot_agent.sim.household import household, scene_named
from robot_agent.sim.tasks import TWIN, tasks_of
from robot_agent.sim.variation import vary
from robot_agent.studies.published_arms import (
    Arm,
    Workshop,
    collect_real,
    finetuned,
    in_simulator,
    in_worlds,
    iter_sft,
    train_arm,
)
from robot_agent.studies.twin import REAL, Place, free_starts, places, spots

SFT, IMAGINED, SIMULATED = "SFT", "RL in the world model", "RL in the trainer's simulator"
PRACTICE_SEED, CHECK_SEED, COLLECT_SEED = 6_000_000, 6_400_000, 6_500_000
"""Where start frames and real episodes come from; trials have others."""
_PER_SEED = 10_000


@dataclass(eq=False)
class Compared:
    """Arms that met the same start states."""

    experiment: str
    wanted: Sequence[Place]
    others: Sequence[Place]
    arms: Sequence[Arm]


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
    train = in_worlds(shop, lambda: shop.team.worlds, _frames(shop, real), _check(shop, real))
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
        train_arm(shop, name, in_worlds(shop, lambda: shop.team.worlds, [*base, *extra], check))
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
    train = in_worlds(shop, lambda: shop.team.worlds, starts, check)
    return train_arm(shop, f"{here.task.name}, one frame", train)


def _from_episodes(shop: Workshop, here: Place) -> Arm:
    """Finetune the worlds on a few real episodes of SFT, and begin at their first frames."""
    num, first = shop.config.test_time_episodes, COLLECT_SEED + _PER_SEED * shop.seed

    def prepare() -> list[TinyWorld]:
        episodes = collect_real(shop, shop.sft, [here], num, first)
        return finetuned(shop, shop.team.worlds, episodes, shop.out / f"worlds_{here.task.name}")

    starts = spots([here], range(first, first + num))
    train = in_worlds(shop, prepare, starts, _check(shop, [here]))
    return train_arm(shop, f"{here.task.name}, {num} episodes", train)


def _dyna(shop: Workshop) -> Iterable[Compared]:
    """Collect with the newest policy, finetune the worlds on all of it, go on training."""
    real, arms = places(REAL), [_sft(shop)]
    for index in range(1, shop.config.rounds + 1):
        collectors = tuple(arms)

        def prepare(collectors: Sequence[Arm] = collectors) -> Sequence[TinyWorld]:
            return _worlds_after(shop, collectors)

        train = in_worlds(shop, prepare, _frames(shop, real), _check(shop, real))
        arms.append(train_arm(shop, f"round {index}", train, arms[-1]))
    yield Compared("4", real, (), arms)


def _worlds_after(shop: Workshop, collectors: Sequence[Arm]) -> Sequence[TinyWorld]:
    """Return the worlds after a round for each collector; rounds that are done are read back."""
    worlds: Sequence[TinyWorld] = shop.team.worlds
    episodes: list[Episode] = []
    for index, newest in enumerate(collectors, start=1):
        first = COLLECT_SEED + _PER_SEED * shop.seed + 1000 * index
        count = shop.config.round_episodes
        episodes += collect_real(shop, newest.weights, places(REAL), count, first)
        worlds = finetuned(shop, worlds, episodes, shop.out / f"worlds_round_{index}")
    return worlds


RUNS: Mapping[str, Callable[[Workshop], Iterable[Compared]]] = {
    "1": _main,
    "2": _variants,
    "3": _test_time,
    "4": _dyna,
    "oracles": _oracles,
}
