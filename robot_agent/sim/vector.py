"""Many simulated robots at once, shared out among processes; pictures come by shared memory."""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

import numpy as np

from robot_agent.core.errors import InputError, SimulationError
from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.sim.scenes import Scene

_ANSWER_S = 120.0
"""Longest wait for a step; the first picture of a scene takes a second on a busy machine."""
_END_S = 5.0
_NUMBERS: Mapping[str, int] = {
    "actions": 7, "states": 7, "sent": 7, "successes": 1, "progress": 1,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Moment:
    """What N robots see after a step; copies, which the next step leaves alone."""

    images: ImageArray
    """(N, size, size, 3) RGB uint8, squashed."""
    states: FloatArray
    """Bridge states (N, 7)."""
    sent: FloatArray
    """Bridge actions that the guards sent (N, 7); zeros after a reset."""
    successes: FloatArray
    """1 where the robot's task is done by the simulator's state, else 0 (N,)."""
    progress: FloatArray
    """How far the task is by the simulator's state, 0 to 1 (N,)."""


class VectorSim:
    """N `SimRobot`s in processes, stepped together. Not thread-safe; use it in a `with`.

    A robot gives the same outcome as alone in one process: nothing is shared but memory.
    """

    def __init__(self, num: int, *, processes: int = 2, size_px: int = 256) -> None:
        """Start the processes; each owns every `processes`-th robot."""
        if not 1 <= processes <= num:
            raise InputError(
                f"{processes} processes for {num} robots: must be from 1 to {num}. "
                f"Ask for fewer processes or more robots."
            )
        self.num, self._size_px = num, size_px
        context = multiprocessing.get_context("spawn")
        self._memory = {
            "images": context.RawArray(ctypes.c_uint8, num * size_px * size_px * 3),
            **{name: context.RawArray(ctypes.c_double, num * w) for name, w in _NUMBERS.items()},
        }
        self._arrays = _views(self._memory, num, size_px)
        self._workers: list[tuple[Connection, BaseProcess]] = []
        for first in range(processes):
            ours, theirs = context.Pipe()
            work = (theirs, self._memory, range(first, num, processes), num, size_px)
            process = context.Process(target=_work, args=work, daemon=True)
            process.start()
            theirs.close()
            self._workers.append((ours, process))

    def reset(self, scenes: Sequence[Scene], tasks: Sequence[str], seeds: Sequence[int]) -> Moment:
        """Start an episode of each robot at the start state of its scene and seed.

        Raises:
            InputError: Not one scene, task and seed for each robot.
            SimulationError: A scene was refused, or a process died.
        """
        for name, given in (("scenes", scenes), ("tasks", tasks), ("seeds", seeds)):
            if len(given) != self.num:
                raise InputError(
                    f"{len(given)} {name} for {self.num} robots: must be one of each. "
                    f"Repeat or shorten them."
                )
        return self._all(("reset", list(scenes), list(tasks), list(seeds)))

    def step(self, actions: FloatArray, rows: Sequence[int] | None = None) -> Moment:
        """Run one 5 Hz Bridge action (N, 7) of each robot through its own guard.

        Robots that are not in `rows` stay as they are, and their actions are not looked at.

        Raises:
            InputError: The shape is another.
            SimulationError: A process died.
        """
        if np.shape(actions) != (self.num, 7):
            raise InputError(
                f"actions have shape {np.shape(actions)}, must be ({self.num}, 7). Stack one each."
            )
        self._arrays["actions"][:] = actions
        moving = range(self.num) if rows is None else rows
        return self._all(("step", frozenset(map(int, moving))))

    def close(self) -> None:
        """End the processes."""
        for connection, process in self._workers:
            connection.close()
            process.terminate()
        for _, process in self._workers:
            process.join(_END_S)
            if process.is_alive():
                process.kill()
        self._workers.clear()

    def __enter__(self) -> "VectorSim":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the processes."""
        self.close()

    def _all(self, order: tuple[Any, ...]) -> Moment:
        refusals = []
        for connection, process in self._workers:
            try:
                connection.send(order)
            except OSError as error:
                raise _died(process) from error
        for connection, process in self._workers:
            try:
                if not connection.poll(_ANSWER_S):
                    raise _died(process)
                refusals.append(connection.recv())
            except (EOFError, ConnectionResetError) as error:
                raise _died(process) from error
        if any(refusals):
            raise SimulationError(next(filter(None, refusals)))
        arrays = self._arrays
        return Moment(
            images=arrays["images"].copy(),
            states=arrays["states"].copy(),
            sent=arrays["sent"].copy(),
            successes=arrays["successes"][:, 0].copy(),
            progress=arrays["progress"][:, 0].copy(),
        )


def _died(process: BaseProcess) -> SimulationError:
    process.join(0.1)
    return SimulationError(
        f"a simulating process does not answer (exit code {process.exitcode}), must answer in "
        f"{_ANSWER_S:.0f} s. Its own message is above; start again with fewer robots."
    )


def _views(memory: Mapping[str, Any], num: int, size_px: int) -> dict[str, Any]:
    views: dict[str, Any] = {
        name: np.frombuffer(memory[name], np.float64).reshape(num, width)
        for name, width in _NUMBERS.items()
    }
    pictures = np.frombuffer(memory["images"], np.uint8)
    return {**views, "images": pictures.reshape(num, size_px, size_px, 3)}


def _work(
    connection: Connection, memory: Mapping[str, Any], mine: range, num: int, size_px: int
) -> None:
    """Serve orders until the pipe ends; the body of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("LP_NUM_THREADS", "0")  # a core has a process: no threads to draw with
    robots = _Robots(_views(memory, num, size_px), mine, size_px)
    try:
        while True:
            connection.send(robots.obey(connection.recv()))
    except (EOFError, ConnectionResetError, BrokenPipeError):
        return


class _Robots:
    """The robots of one process; they write what they see into the shared arrays."""

    def __init__(self, arrays: Mapping[str, Any], mine: range, size_px: int) -> None:
        self._arrays, self._mine, self._size_px = arrays, mine, size_px
        self._robots: dict[int, Any] = {}
        self._tasks: dict[int, str] = {}

    def obey(self, order: tuple[Any, ...]) -> str:
        """Carry out an order; return "" or why not."""
        from robot_agent.core.errors import RobotAgentError

        try:
            for index in self._mine:
                if order[0] == "reset":
                    self._reset(index, *(values[index] for values in order[1:]))
                    self._arrays["sent"][index] = 0.0
                elif index in order[1]:
                    action = self._arrays["actions"][index].copy()
                    self._arrays["sent"][index] = self._robots[index].execute(action)
                else:
                    continue
                self._show(index)
        except RobotAgentError as error:
            return str(error)
        return ""

    def _reset(self, index: int, scene: Scene, task: str, seed: int) -> None:
        from robot_agent.sim.robot import SimRobot

        if index not in self._robots:
            self._robots[index] = SimRobot(scene)
        self._tasks[index] = task
        self._robots[index].reset(seed, task, scene)

    def _show(self, index: int) -> None:
        from robot_agent.sim.progress import progress
        from robot_agent.sim.tasks import find_task

        robot = self._robots[index]
        self._arrays["images"][index] = robot.world.render(self._size_px, self._size_px)
        self._arrays["states"][index] = robot.state()
        self._arrays["successes"][index] = robot.world.success(self._tasks[index])
        task = find_task(robot.world.scene.cell, self._tasks[index])
        self._arrays["progress"][index] = progress(task, robot.world.truth)
