"""Runs a candidate beside the acting weights, in a thread that nothing waits for."""

import os
import threading
from dataclasses import dataclass, replace

from robot_agent.act.planner import EpisodeTask
from robot_agent.core.clock import Stopwatch
from robot_agent.core.protocols import Policy
from robot_agent.core.types import Chunk, Observation
from robot_agent.release.promotion import Promotion

_NICE = 10
"""The thread gives way to everything that moves the arm."""
_WARM_UP = 10.0
"""Times the ordinary limit that a candidate's first inference may take."""


@dataclass(frozen=True)
class Sight:
    """One observation and what the acting weights made of it."""

    episode: int
    task: EpisodeTask
    observation: Observation
    chunk: Chunk
    seconds: float


class ShadowThread:
    """Hears every inference of the acting weights and shows it to the candidate.

    The episode's thread calls `begin_episode`, `saw` and `end_episode`; `saw` stores and returns.
    While the candidate is busy only the newest sight is kept. One that is busy for longer than
    the acting weights may be is refused; its thread is left to end by itself.
    """

    def __init__(self, promotion: Promotion, max_inference_s: float) -> None:
        """Report to `promotion`; `max_inference_s` is wall time."""
        self._promotion, self._max_s = promotion, max_inference_s
        self._changed = threading.Condition()
        self._newest: Sight | None = None
        self._busy: tuple[Stopwatch, float] | None = None  # since when, and for how long at most
        self._task: EpisodeTask | None = None
        self._episode = 0
        self._version = ""
        self._is_closed = False
        self.dropped = 0
        """Sights that came while the candidate was busy."""

    @property
    def speed(self) -> float:
        """Share of the ordinary speed limits for what is proposed now."""
        return self._promotion.progress.speed

    def begin_episode(self, task: EpisodeTask) -> None:
        """Let the weights act whose turn it is, and remember the task."""
        self._promotion.begin_episode()
        self._task = task
        self._episode += 1

    def instruct(self, instruction: str) -> None:
        """Let the candidate follow another instruction too, from the next sight on."""
        if self._task is not None:
            self._task = replace(self._task, instruction=instruction)
            self._episode += 1

    def end_episode(self) -> None:
        """Note that nothing is proposed any more."""
        self._promotion.end_episode()

    def close(self) -> None:
        """Let the thread end, and the probation rest."""
        self._is_closed = True
        self._promotion.close()

    def saw(self, observation: Observation, chunk: Chunk, seconds: float) -> None:
        """Take an inference of the acting weights; never waits for the candidate."""
        self._promotion.add_latency(chunk.weights_version, seconds)
        candidate = self._promotion.candidate
        if candidate is None or self._task is None:
            return
        with self._changed:
            if candidate.version != self._version:
                self._start(candidate)
            busy = self._busy
            self.dropped += self._newest is not None
            self._newest = Sight(self._episode, self._task, observation, chunk, seconds)
            self._changed.notify_all()
        if busy is not None and busy[0].seconds() > busy[1]:
            self._refuse(candidate.version, busy[0].seconds(), busy[1])

    def _start(self, candidate: Policy) -> None:
        self._version, self._newest, self._busy, self.dropped = candidate.version, None, None, 0
        threading.Thread(target=self._run, args=(candidate,), name="shadow", daemon=True).start()

    def _refuse(self, version: str, seconds: float, limit_s: float) -> None:
        """Refuse a slow candidate, in a thread: the journal is on a disk."""
        reason = f"shadow: inference takes {seconds:.2f} s, must be at most {limit_s:.2f} s"
        drop = threading.Thread(target=self._promotion.drop, args=(reason, version), daemon=True)
        drop.start()

    def _run(self, candidate: Policy) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        episode = -1
        while self._promotion.candidate is candidate and not self._is_closed:
            sight = self._take(candidate)
            if sight is None:
                continue
            try:
                if episode < 0:
                    self._busy = Stopwatch(), self._max_s * _WARM_UP
                    candidate.reset(sight.task.instruction, sight.task.seed)
                    candidate.act(sight.observation)  # the first one warms up
                if sight.episode != episode:
                    candidate.reset(sight.task.instruction, sight.task.seed)
                    episode = sight.episode
                watch = Stopwatch()
                self._busy = watch, self._max_s
                chunk = candidate.act(sight.observation)
                taken_s, self._busy = watch.seconds(), None
            except Exception as error:  # noqa: BLE001 - whatever a candidate raises refuses it
                self._promotion.drop(
                    f"shadow: raised {type(error).__name__}: {error}", candidate.version
                )
                return
            if taken_s > self._max_s:
                self._refuse(candidate.version, taken_s, self._max_s)
                return
            self._promotion.compare(
                (sight.chunk.weights_version, candidate.version),
                sight.chunk.actions,
                chunk.actions,
                (sight.seconds, taken_s),
            )

    def _take(self, candidate: Policy) -> Sight | None:
        """Return the newest sight, or None after a moment or when another candidate is in."""
        with self._changed:
            if self._newest is None:
                self._changed.wait(0.5)
            if candidate.version != self._version or self._newest is None:
                return None
            sight, self._newest = self._newest, None
            return sight
