"""Processes that run trials, each with its own simulated robot and copy of the policies."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from robot_agent.core.errors import RobotAgentError, SimulationError
from robot_agent.core.protocols import Policy
from robot_agent.sim.scenes import Scene

LoadPolicy = Callable[[Path], Policy]
"""A function at the top of a module, so that another process can import it."""

_END_S = 5.0
"""How long an ended worker may take to go before it is killed."""


@dataclass(frozen=True)
class Job:
    """One trial to run."""

    index: int
    """Tells jobs apart."""
    policy: str
    scene: Scene
    instruction: str
    seed: int
    max_steps: int


def run_jobs(
    jobs: Sequence[Job], policies: Mapping[str, Path], load: LoadPolicy, num_workers: int
) -> Iterator[tuple[Job, bool, int]]:
    """Yield (job, success, steps) as trials finish, in any order.

    Workers see the end of their pipe when this process dies, and end too; Ctrl-C is left to this
    process, which ends them.

    Raises:
        RobotAgentError: A policy cannot be loaded, or a trial was refused.
        SimulationError: A worker died.
    """
    by_index = {job.index: job for job in jobs}
    waiting = list(reversed(jobs))
    workers: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(min(num_workers, len(jobs))):
            connection, process = _start(policies, load)
            workers[connection] = process
            connection.send(waiting.pop())
        busy = set(workers)
        while busy:
            for connection in cast("list[Connection]", wait(list(busy))):
                index, success, steps = _answer(connection, workers[connection])
                if waiting:
                    connection.send(waiting.pop())
                else:
                    busy.discard(connection)
                yield by_index[index], success, steps
    finally:
        _end(workers)


def _start(policies: Mapping[str, Path], load: LoadPolicy) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    ours.send((load, dict(policies)))
    return ours, process


def _answer(connection: Connection, process: BaseProcess) -> tuple[int, bool, int]:
    try:
        index, success, steps, refusal = connection.recv()
    except (EOFError, ConnectionResetError) as error:
        process.join(_END_S)
        raise SimulationError(
            f"a worker ended with exit code {process.exitcode}, must run until told to end. Its "
            f"own message is above; finished trials are kept, so run the command again to go on."
        ) from error
    if refusal:
        raise RobotAgentError(refusal)
    return index, success, steps


def _end(workers: Mapping[Connection, BaseProcess]) -> None:
    for connection, process in workers.items():
        connection.close()
        process.terminate()
    for process in workers.values():
        process.join(_END_S)
        if process.is_alive():
            process.kill()


def _work(connection: Connection) -> None:
    """Run jobs from the pipe until it ends; the body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # before `load` is unpickled and imports its libraries
    try:
        load, paths = connection.recv()
        run = _Trials(load, paths)
        while True:
            job: Job = connection.recv()
            connection.send((job.index, *run(job)))
    except (EOFError, ConnectionResetError, BrokenPipeError):
        return


class _Trials:
    """One robot, and each policy from its first trial on."""

    def __init__(self, load: LoadPolicy, paths: Mapping[str, Path]) -> None:
        self._load, self._paths = load, paths
        self._policies: dict[str, Policy] = {}
        self._robot: Any = None

    def __call__(self, job: Job) -> tuple[bool, int, str]:
        """Return success, steps and, when the trial was refused, why."""
        from robot_agent.evaluate.trials import run_trial
        from robot_agent.sim.robot import SimRobot

        try:
            if job.policy not in self._policies:
                self._policies[job.policy] = self._load(self._paths[job.policy])
            if self._robot is None:
                self._robot = SimRobot(job.scene)
            trial = run_trial(
                self._robot,
                self._policies[job.policy],
                job.scene,
                job.instruction,
                job.seed,
                max_steps=job.max_steps,
            )
        except RobotAgentError as error:
            return False, 0, f"policy {job.policy}, seed {job.seed}: {error}"
        return trial.success, trial.steps, ""
