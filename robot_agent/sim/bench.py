"""How many control steps a second the simulator makes, and what they are spent on."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from robot_agent.core.clock import Stopwatch, timed
from robot_agent.core.types import FloatArray
from robot_agent.guard.limits import STEP_S
from robot_agent.sim.play import hand_for
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import tasks_of
from robot_agent.sim.vector import VectorSim

SIZE_PX = 256
"""Edge of the pictures."""
_EPISODE_STEPS = 25
_WARM_UP = 3
OnResult = Callable[[str], None]


def bench_sim(
    scene: Scene,
    *,
    seconds: float = 10.0,
    processes: int = 2,
    robots: int = 4,
    seed: int = 0,
    on_result: OnResult = lambda _: None,
) -> dict[str, Any]:
    """Return control steps a second, each with its 256x256 picture, in one process and in several.

    A step is what it is in a trial: a demonstrator's 5 Hz action through the guard at 50 Hz, the
    physics of 200 ms, and one picture.
    """
    one = _one_process(scene, seconds, seed)
    on_result("one process")
    many = _processes(scene, seconds, processes, robots, seed)
    on_result(f"{processes} processes")
    return {"scene": scene.name, "picture_px": SIZE_PX, "one_process": one, "vector": many}


def _one_process(scene: Scene, seconds: float, seed: int) -> dict[str, Any]:
    robot = SimRobot(scene)
    acting: list[float] = []
    drawing: list[float] = []
    watch, hand = Stopwatch(), _hand(scene, robot, seed)
    while watch.seconds() < seconds or len(acting) <= 2 * _WARM_UP:
        with timed(acting):
            robot.execute(next(hand))
        with timed(drawing):
            robot.world.render(SIZE_PX, SIZE_PX)
    robot.world.close()
    acting, drawing = acting[_WARM_UP:], drawing[_WARM_UP:]
    spent_ms = {
        "guard_and_physics": 1e3 * float(np.mean(acting)),
        "picture": 1e3 * float(np.mean(drawing)),
    }
    return {**_speed(1e3 / sum(spent_ms.values())), "steps": len(acting), "ms": spent_ms}


def _hand(scene: Scene, robot: SimRobot, seed: int) -> Iterator[FloatArray]:
    """Yield a demonstrator's actions, episode after episode."""
    while True:
        tasks = tasks_of(scene.cell)
        task = tasks[seed % len(tasks)]
        robot.reset(seed, task.name, scene)
        rng = np.random.default_rng(seed)
        hand = hand_for(scene.varied(rng), task, rng)
        for _ in range(_EPISODE_STEPS):
            yield hand.act(robot.world.truth)
        seed += 1


def _processes(
    scene: Scene, seconds: float, processes: int, robots: int, seed: int
) -> dict[str, Any]:
    """Measure with small random motion: what is measured is the runner, not the hand."""
    rng = np.random.default_rng(seed)
    with VectorSim(robots, processes=processes, size_px=SIZE_PX) as sim:
        scenes = [scene] * robots
        sim.reset(scenes, [tasks_of(scene.cell)[0].name] * robots, range(seed, seed + robots))
        for _ in range(_WARM_UP):
            sim.step(_wobble(rng, robots))
        watch, steps = Stopwatch(), 0
        while watch.seconds() < seconds or not steps:
            sim.step(_wobble(rng, robots))
            steps += robots
        found = _speed(steps / watch.seconds())
    return {**found, "steps": steps, "processes": processes, "robots": robots}


def _wobble(rng: np.random.Generator, robots: int) -> FloatArray:
    actions: FloatArray = np.zeros((robots, 7))
    actions[:, :3] = rng.uniform(-0.01, 0.01, (robots, 3))
    return actions


def _speed(steps_per_s: float) -> dict[str, float]:
    return {"steps_per_s": steps_per_s, "times_real_time": steps_per_s * STEP_S}
