"""Demonstrations and play by the thousand, from the scripted hands, through the guard."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.sim.demonstrator import (
    Demonstrator,
    Wanderer,
    demonstration_style,
    near_miss_style,
)
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import HOME, TASKS, TRAVEL_M, Scene, broad_scene

_TASKS = tuple(TASKS.values())


@dataclass(frozen=True, eq=False)
class Recording:
    """Episodes of equal length as arrays; action t leads from image t to image t+1."""

    images: ImageArray
    """(N, T + 1, 64, 64, 3) uint8."""
    states: FloatArray
    """Bridge states (N, T + 1, 7)."""
    actions: FloatArray
    """Executed (sent) Bridge actions (N, T, 7)."""
    labels: FloatArray
    """Clean Bridge actions (N, T, 7), what a demonstrator would have done."""
    openings: FloatArray
    """True opening of the drawer (N, T + 1), 0 closed to 1 fully open."""
    tasks: NDArray[np.int64]
    """Index into `TASKS` (N,)."""
    valid: NDArray[np.int64]
    """Steps of each episode that belong to it (N,); demonstrations end after success."""


def collect_demonstrations(num: int, seed: int, workers: int = 2, steps: int = 24) -> Recording:
    """Return `num` demonstrations in the home scene, half of each task."""
    return _collect("demonstration", num, seed, workers, steps)


def collect_play(num: int, seed: int, workers: int = 2, steps: int = 24) -> Recording:
    """Return `num` play episodes in broad scenes: noisy demonstrations, near misses, wandering.

    At least 40 % are near misses; every episode goes on after success, often with the other task.
    """
    return _collect("play", num, seed, workers, steps)


def _collect(kind: str, num: int, seed: int, workers: int, steps: int) -> Recording:
    shares = np.array_split(np.arange(num), max(1, workers * 4))
    jobs = [
        (kind, [seed * 1_000_003 + int(i) for i in share], steps) for share in shares if len(share)
    ]
    if workers <= 1:
        parts = [_run_share(*job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(_run_share, *zip(*jobs, strict=True)))
    fields = zip(*parts, strict=True)
    return Recording(*(np.concatenate(field) for field in fields))


def _run_share(kind: str, seeds: list[int], steps: int) -> tuple[NDArray[np.generic], ...]:
    robot = SimRobot(HOME)
    episodes = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        if kind == "play":
            episodes.append(_play(robot, rng, seed, steps))
        else:
            episodes.append(_demonstrate(robot, rng, seed, steps))
    robot.world.close()
    return tuple(np.stack(field) for field in zip(*episodes, strict=True))


def _demonstrate(
    robot: SimRobot, rng: np.random.Generator, seed: int, steps: int
) -> tuple[NDArray[np.generic], ...]:
    task = _TASKS[seed % len(_TASKS)]
    robot.reset(seed, task, HOME)
    varied = HOME.varied(np.random.default_rng(seed))
    demonstrator = Demonstrator(varied, task, demonstration_style(rng))
    return _record(robot, ((demonstrator, rng) for _ in range(steps)), task, rng)


def _play(
    robot: SimRobot, rng: np.random.Generator, seed: int, steps: int
) -> tuple[NDArray[np.generic], ...]:
    scene = broad_scene(rng)
    robot.reset(seed, "", scene)
    hands = _hands(scene, rng, steps)
    return _record(robot, hands, _TASKS[0], rng, stop_after_success=False)


def _hands(
    scene: Scene, rng: np.random.Generator, steps: int
) -> Iterator[tuple[Demonstrator | Wanderer, np.random.Generator]]:
    """Yield the hand of each step; it changes about every dozen steps."""
    hand: Demonstrator | Wanderer = Wanderer(rng)
    left = int(rng.integers(0, 6)) if rng.random() < 0.5 else 0
    for _ in range(steps):
        if left <= 0:
            left = int(rng.integers(8, 22))
            draw = rng.random()
            style = near_miss_style(rng) if draw < 0.45 else demonstration_style(rng)
            task = _TASKS[rng.integers(len(_TASKS))]
            hand = Wanderer(rng) if draw > 0.85 else Demonstrator(scene, task, style)
        left -= 1
        yield hand, rng


def _record(
    robot: SimRobot,
    hands: Iterator[tuple[Demonstrator | Wanderer, np.random.Generator]],
    task: str,
    rng: np.random.Generator,
    *,
    stop_after_success: bool = True,
) -> tuple[NDArray[np.generic], ...]:
    images, states = [robot.world.render_model_view()], [robot.state()]
    openings, actions, labels = [robot.world.drawer_m / TRAVEL_M], [], []
    valid, settled = 0, 0
    for hand, _ in hands:
        if isinstance(hand, Demonstrator):
            label = hand.act(robot.world.tool_m, robot.world.drawer_m)
            wanted = hand.disturb(label, rng)
        else:
            label = wanted = hand.act(robot.world.tool_m)
        actions.append(robot.execute(wanted))
        labels.append(label)
        images.append(robot.world.render_model_view())
        states.append(robot.state())
        openings.append(robot.world.drawer_m / TRAVEL_M)
        settled += stop_after_success and robot.world.success(task)
        valid += settled <= 3
    return (
        np.stack(images),
        np.stack(states),
        np.stack(actions),
        np.stack(labels),
        np.array(openings),
        np.array(_TASKS.index(task)),
        np.array(valid),
    )


def save_recording(path: Path, recording: Recording) -> None:
    """Write a recording as safetensors that appears by one rename."""
    arrays = {name: np.ascontiguousarray(value) for name, value in vars(recording).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(".tmp")
    save_file(arrays, staging)
    staging.replace(path)
