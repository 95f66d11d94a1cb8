"""Demonstrations and play by the thousand, from the scripted hands, through the guard."""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robot_agent.sim.play import Hand, hand_for, is_near_aim, play_hands
from robot_agent.sim.recordings import WORDS, Recording
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import CELL_SCENES, TRAVEL_M, Scene, broad_cell_scene
from robot_agent.sim.tasks import Task, find_task, tasks_of

SceneDraw = Callable[[np.random.Generator], Scene]
"""Draws the scene of one episode; a function of a module, so that other processes find it."""
Report = Callable[[int, int, str], None]
"""Progress: done, total, and a few words."""
Arrays = tuple[NDArray[np.generic], ...]

DEFAULT_STEPS = {"table": 24, "drawer": 45, "sink": 70}
"""Steps of an episode, by cell: most demonstrations have ended by then."""
_REST_M = 0.005
"""A clean step shorter than this is rest."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to collect."""

    kind: Literal["demonstration", "play"]
    num: int
    seed: int
    cell: str = "table"
    task: str = ""
    """Name or instruction; empty takes turns between the cell's tasks. Play has none."""
    steps: int = 24
    draw_scene: SceneDraw | None = None
    """None: the cell's home for demonstrations, broad scenes for play."""


def collect(plan: Plan, workers: int = 2, report: Report | None = None) -> Recording:
    """Return the episodes of a plan; the same plan gives the same, whatever the workers."""
    tasks_of(plan.cell)
    count = max(workers * 4, plan.num // 25, 1)
    shares = [share for share in np.array_split(np.arange(plan.num), count) if len(share)]
    seeds = [[plan.seed * 1_000_003 + int(i) for i in share] for share in shares]
    if workers <= 1:
        parts = _gather(map(_run_share, repeat(plan), seeds), plan.num, report)
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = _gather(pool.map(_run_share, repeat(plan), seeds), plan.num, report)
    joined = (np.concatenate(field) for field in zip(*parts, strict=True))
    names = (field.name for field in fields(Recording) if field.name not in WORDS)
    return Recording(**dict(zip(names, joined, strict=True)), cell=plan.cell, kind=plan.kind)


def collect_demonstrations(num: int, seed: int, workers: int = 2, steps: int = 24) -> Recording:
    """Return `num` demonstrations in the home scene of the table, half of each task."""
    return collect(Plan(kind="demonstration", num=num, seed=seed, steps=steps), workers)


def collect_play(num: int, seed: int, workers: int = 2, steps: int = 24) -> Recording:
    """Return `num` play episodes in broad scenes: noisy demonstrations, near misses, wandering.

    At least 40 % are near misses; every episode goes on after success, often with the other task.
    """
    return collect(Plan(kind="play", num=num, seed=seed, steps=steps), workers)


def _gather(parts: Iterable[Arrays], total: int, report: Report | None) -> list[Arrays]:
    done, gathered = 0, []
    for part in parts:
        gathered.append(part)
        done += len(part[0])
        if report is not None:
            report(done, total, "episodes")
    return gathered


def _run_share(plan: Plan, seeds: list[int]) -> Arrays:
    robot = SimRobot(CELL_SCENES[plan.cell])
    run = _play if plan.kind == "play" else _demonstrate
    episodes = [run(robot, plan, np.random.default_rng(seed), seed) for seed in seeds]
    robot.world.close()
    return tuple(np.stack(field) for field in zip(*episodes, strict=True))


def _demonstrate(robot: SimRobot, plan: Plan, rng: np.random.Generator, seed: int) -> Arrays:
    tasks = tasks_of(plan.cell)
    task = find_task(plan.cell, plan.task) if plan.task else tasks[seed % len(tasks)]
    scene = CELL_SCENES[plan.cell] if plan.draw_scene is None else plan.draw_scene(rng)
    robot.reset(seed, task.name, scene)
    hand = hand_for(scene.varied(np.random.default_rng(seed)), task, rng)
    return _record(robot, repeat(hand, plan.steps), task, rng)


def _play(robot: SimRobot, plan: Plan, rng: np.random.Generator, seed: int) -> Arrays:
    draw = partial(broad_cell_scene, plan.cell) if plan.draw_scene is None else plan.draw_scene
    scene = replace(draw(rng), jitter=0.0)  # hands must know where the fixture is
    robot.reset(seed, "", scene)
    return _record(robot, play_hands(scene, rng, plan.steps), None, rng)


def _record(
    robot: SimRobot, hands: Iterable[Hand], task: Task | None, rng: np.random.Generator
) -> Arrays:
    """Run one episode; with a task it ends, as `valid` tells, soon after success at rest."""
    world, cell = robot.world, robot.world.scene.cell
    tasks = tasks_of(cell)
    images, states, truths = [world.render_model_view()], [robot.state()], [world.truth]
    actions, labels, misses = [], [], []
    valid, settled = 0, 0
    for hand in hands:
        label = hand.act(truths[-1])
        actions.append(robot.execute(hand.disturb(label, rng)))
        labels.append(label)
        misses.append(hand.style.is_miss and is_near_aim(cell, truths[-1]))
        images.append(world.render_model_view())
        states.append(robot.state())
        truths.append(world.truth)
        is_resting = cell == "table" or float(np.linalg.norm(label[:3])) < _REST_M
        settled += task is not None and task.is_solved(truths[-1]) and is_resting
        valid += settled <= 3
    return (
        np.stack(images),
        np.stack(states),
        np.stack(actions),
        np.stack(labels),
        np.array([truth.drawer_m / TRAVEL_M for truth in truths]),
        np.stack([truth.object_m for truth in truths]),
        np.array([[t.is_solved(truth) for t in tasks] for truth in truths], np.uint8),
        np.array(misses, np.uint8),
        np.array(0 if task is None else tasks.index(task)),
        np.array(valid),
    )
