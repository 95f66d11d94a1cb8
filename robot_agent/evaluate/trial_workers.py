"""Processes that run trials, each with its own simulated robot and copy of the policies."""

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import numpy as np

from robot_agent.core.config import require_range
from robot_agent.core.errors import RobotAgentError, SimulationError
from robot_agent.core.protocols import Policy
from robot_agent.core.types import ImageArray, Step
from robot_agent.evaluate.judging import ClipJudge, seen_by_judge
from robot_agent.evaluate.trial_runner import Job, Place, TrialResult

LoadPolicy = Callable[[Path], Policy]
"""A function at the top of a module, so that another process can import it."""

_END_S = 5.0
"""How long an ended worker may take to go before it is killed."""


class SimRunner:
    """Runs trials in simulation; see `TrialRunner`. Success is the simulator's state."""

    place: Place = "sim"

    def __init__(
        self,
        policies: Mapping[str, Path],
        load: LoadPolicy,
        *,
        workers: int = 2,
        judge: ClipJudge | None = None,
    ) -> None:
        """Run `policies` in `workers` processes, each of which loads them by `load`.

        Args:
            policies: Name to the file or folder of its weights.
            load: Makes a policy of such a path; a function at the top of a module.
            workers: Number of processes.
            judge: Scores the trials too, in this process; what counts stays the simulator's state.
        """
        require_range("workers", workers, 1, 64)
        self._policies, self._load, self._workers = dict(policies), load, workers
        self._judge, self.judge = judge, judge.name if judge else ""

    def run(self, jobs: Sequence[Job]) -> Generator[tuple[Job, TrialResult], None, None]:
        """Yield attempts as they end, in any order.

        Workers see the end of their pipe when this process dies, and end too; Ctrl-C is left to
        this process, which ends them.

        Raises:
            RobotAgentError: A policy cannot be loaded, or a trial was refused.
            SimulationError: A worker died.
        """
        by_index = {job.index: job for job in jobs}
        left = {job.index: job.attempts for job in jobs}
        waiting = list(reversed(jobs))
        workers: dict[Connection, BaseProcess] = {}
        setting = (self._load, self._policies, self._judge is not None)
        try:
            for _ in range(min(self._workers, len(jobs))):
                connection, process = _start(*setting)
                workers[connection] = process
                connection.send(waiting.pop())
            busy = set(workers)
            while busy:
                for connection in cast("list[Connection]", wait(list(busy))):
                    index, result, frames = _answer(connection, workers[connection])
                    left[index] -= 1
                    if result.outcome == "abort" and left[index]:
                        waiting.append(by_index[index])
                    if waiting:
                        connection.send(waiting.pop())
                    else:
                        busy.discard(connection)
                    yield by_index[index], self._judged(result, frames, by_index[index])
        finally:
            _end(workers)

    def _judged(self, result: TrialResult, frames: ImageArray | None, job: Job) -> TrialResult:
        if self._judge is None or frames is None or result.outcome == "abort":
            return result
        score = self._judge.score(frames, job.instruction)
        return replace(result, judge_score=None if math.isnan(score) else score)


def _start(*setting: object) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    ours.send(setting)
    return ours, process


def _answer(
    connection: Connection, process: BaseProcess
) -> tuple[int, TrialResult, ImageArray | None]:
    try:
        index, result, frames, refusal = connection.recv()
    except (EOFError, ConnectionResetError) as error:
        process.join(_END_S)
        raise SimulationError(
            f"a worker ended with exit code {process.exitcode}, must run until told to end. Its "
            f"own message is above; finished trials are kept, so run the command again to go on."
        ) from error
    if refusal:
        raise RobotAgentError(refusal)
    return index, result, frames


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
        run = _Trials(*connection.recv())
        while True:
            job: Job = connection.recv()
            connection.send((job.index, *run(job)))
    except (EOFError, ConnectionResetError, BrokenPipeError):
        return


class _Trials:
    """One robot, and each policy from its first trial on."""

    def __init__(self, load: LoadPolicy, paths: Mapping[str, Path], is_judged: bool) -> None:
        self._load, self._paths, self._is_judged = load, paths, is_judged
        self._policies: dict[str, Policy] = {}
        self._robot: Any = None

    def __call__(self, job: Job) -> tuple[TrialResult | None, ImageArray | None, str]:
        """Return result, first and last two pictures and, when the trial was refused, why."""
        from robot_agent.evaluate.trials import run_trial
        from robot_agent.sim.robot import SimRobot

        try:
            if job.policy not in self._policies:
                self._policies[job.policy] = self._load(self._paths[job.policy])
            if self._robot is None:
                self._robot = SimRobot(job.scene)
            steps: list[Step] = []
            trial = run_trial(
                self._robot,
                self._policies[job.policy],
                job.scene,
                job.instruction,
                job.seed,
                max_steps=job.max_steps,
                on_step=steps.append if self._is_judged else None,
            )
            seen = [step.observation.image_hwc for step in steps]
            frames = seen_by_judge(np.stack([*seen, self._robot.observe().image_hwc]))
        except RobotAgentError as error:
            return None, None, f"policy {job.policy}, seed {job.seed}: {error}"
        result = TrialResult(trial.outcome, trial.steps, trial.safety_events, trial.reason)
        return result, frames if self._is_judged else None, ""
