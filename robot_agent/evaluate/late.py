"""What late answers of a policy cost: starved ticks and success, in virtual time on a 5 Hz grid.

The loop, the planner and the plan are those of the robot, and the planner is asked as often as
there, every 50 ms of a step; time, the worker and the robot are not.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from robot_agent.act.execution import ExecutionConfig
from robot_agent.act.executor import HEARTBEAT_NS, PERIOD_NS, HoldCount, Numbering
from robot_agent.act.inference import infer
from robot_agent.act.loop import run_episode
from robot_agent.act.plan import Ahead
from robot_agent.act.planner import EpisodeTask, Planner
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.clock import FakeClock
from robot_agent.core.config import require_range
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.protocols import Policy
from robot_agent.core.types import ACTION_DIM, NUM_JOINTS, Chunk, Observation, Proposal
from robot_agent.evaluate.trials import HELD_STEPS, Trial
from robot_agent.guard.session import TICK_NS
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import Task, find_task

Pass = Callable[[], None]
"""Is told of every 20 ms that have passed."""
Move = Callable[[Proposal | None, Pass], None]
"""Lets the 200 ms of a step pass with an action, or without one, and tells of each 20 of them."""


@dataclass(frozen=True, kw_only=True)
class LatencyConfig:
    """Log-normal time from a picture to its chunk."""

    median_s: float = 0.3
    """0 is no latency at all."""
    sigma: float = 0.5
    """Standard deviation of the logarithm: with 0.5 one in twenty takes 2.3 medians or more."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("median_s", self.median_s, 0.0, 60.0, "s")
        require_range("sigma", self.sigma, 0.0, 2.0)

    def draw_ns(self, rng: np.random.Generator) -> int:
        """Return one latency."""
        return round(self.median_s * float(rng.lognormal(0.0, self.sigma)) * 1e9)


class LateInference:
    """An `Inference` whose chunk is there when its drawn latency has passed."""

    def __init__(self, clock: FakeClock, config: LatencyConfig, rng: np.random.Generator) -> None:
        """Draw from `rng`."""
        self._clock, self._config, self._rng = clock, config, rng
        self._chunk: Chunk | None = None
        self._is_wanted, self._ready_ns = False, 0

    @property
    def is_busy(self) -> bool:
        """Whether one is under way, wanted or not."""
        return self._chunk is not None

    def start(self, policy: Policy, observation: Observation, ahead: Ahead | None) -> None:
        """Infer now, and tell later."""
        self._chunk, self._is_wanted = infer(policy, observation, ahead), True
        self._ready_ns = self._clock.now_ns() + self._config.draw_ns(self._rng)

    def take(self) -> Chunk | None:
        """Return the chunk once its time has come."""
        if self._clock.now_ns() < self._ready_ns:
            return None
        chunk, self._chunk = self._chunk, None
        return chunk if self._is_wanted else None

    def drop(self) -> None:
        """Never mind the one under way; it takes its time all the same."""
        self._is_wanted = False


class TickDriver:
    """A `Driver` on a fixed grid: every tick of 200 ms has an action, or is held."""

    def __init__(self, clock: FakeClock, move: Move) -> None:
        """Let time pass by `move`."""
        self._clock, self._move = clock, move
        self._starved = HoldCount()
        self.end_ns = clock.now_ns()
        """Time at which the newest action is, or was, executed for its full 200 ms."""
        self.ticks = 0
        """Ticks since the first action."""

    @property
    def starved_ticks(self) -> int:
        """Ticks that found no action ready."""
        return self._starved.ticks

    def execute(
        self,
        proposal: Proposal,
        is_cancelled: Callable[[], bool],
        meanwhile: Callable[[], None],
    ) -> None:
        """Let the tick pass, and look as often as the robot's executor does."""
        del is_cancelled  # nobody interrupts a tick here
        self._starved.end()
        self.ticks += 1
        self.end_ns = self._clock.now_ns() + PERIOD_NS
        meanwhile()
        begin_ns = self._clock.now_ns()

        def passed() -> None:
            self._clock.sleep_until(self._clock.now_ns() + TICK_NS)
            if (self._clock.now_ns() - begin_ns) % HEARTBEAT_NS < TICK_NS:
                meanwhile()

        self._move(proposal, passed)
        self._clock.sleep_until(self.end_ns)  # a robot that is stopped tells of nothing

    def hold(self, *, is_starved: bool) -> None:
        """Let one tick pass without an action."""
        self._move(None, lambda: None)
        self._clock.advance(PERIOD_NS * 1e-9)
        if is_starved:
            self.ticks += 1
            self._starved.lasts(self._clock.now_ns() - self.end_ns)


def stand(proposal: Proposal | None, passed: Pass) -> None:
    """Be a `Move` of no robot."""
    del proposal
    for _ in range(PERIOD_NS // TICK_NS):
        passed()


class _Blind:
    """Eyes for which there is nothing to see."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock, self._image = clock, np.zeros((1, 1, 3), np.uint8)

    def newest(self, not_before_ns: int) -> Observation | None:
        now_ns = self._clock.now_ns()
        if now_ns < not_before_ns:
            return None
        return Observation(self._image, np.zeros(NUM_JOINTS), 1.0, now_ns)


class _Still:
    """A policy that answers with actions that do not move."""

    version, needs = "still", PolicyNeeds()

    def __init__(self, chunk: int) -> None:
        self._actions = np.zeros((chunk, ACTION_DIM))

    def reset(self, instruction: str, seed: int) -> None:
        """Nothing to begin."""

    def act(self, observation: Observation) -> Chunk:
        return Chunk(self._actions, self.version, 0, observation.stamp_ns)


@dataclass(frozen=True)
class Starvation:
    """How often a tick found no action."""

    ticks: int
    starved: int
    dropped: int
    """Actions that came after their step."""

    @property
    def share(self) -> float:
        """Share of the ticks."""
        return self.starved / self.ticks


def starvation(
    execution: ExecutionConfig, latency: LatencyConfig, *, chunk: int, steps: int, seed: int
) -> Starvation:
    """Return how a simulated policy starves that answers with `chunk` actions, late."""
    clock, rng = FakeClock(PERIOD_NS), np.random.default_rng(seed)
    driver = TickDriver(clock, stand)
    inference = LateInference(clock, latency, rng)
    slot, numbering = PolicySlot(_Still(chunk)), Numbering(0)
    planner = Planner(
        _Blind(clock), slot, inference, driver, clock=clock, numbering=numbering, config=execution
    )
    done = 0
    while done < steps:
        task = EpisodeTask(instruction="wait", max_steps=min(steps - done, 10_000))
        done += run_episode(planner, driver, task)
    return Starvation(driver.ticks, driver.starved_ticks, planner.dropped)


class _RobotEyes:
    """The simulated camera: a picture of this very moment."""

    def __init__(self, robot: SimRobot, clock: FakeClock) -> None:
        self._robot, self._clock = robot, clock

    def newest(self, not_before_ns: int) -> Observation | None:
        now_ns = self._clock.now_ns()
        if now_ns < not_before_ns:
            return None
        return replace(self._robot.observe(), stamp_ns=now_ns)


class _Course:
    """Moves the robot and watches the task, as `run_trial` does."""

    def __init__(self, robot: SimRobot, task: Task) -> None:
        self._robot, self._task = robot, task
        self._held = self._solved_at = 0

    @property
    def solved_at(self) -> int:
        """Step since which the task is solved, where that does not end the trial; else 0."""
        return 0 if self._task.ends_at_success else self._solved_at

    def move(self, proposal: Proposal | None, passed: Pass) -> None:
        self._robot.on_tick = lambda _: passed()
        if proposal is None:
            self._robot.hold()
        else:
            self._robot.execute(proposal.action, proposal.weights_version)

    def on_step(self, step: int, proposal: Proposal) -> None:
        del proposal
        is_solved = self._robot.world.success(self._task.name)
        self._solved_at = (self._solved_at or step) if is_solved else 0
        self._held = self._held + 1 if self._task.ends_at_success and is_solved else 0

    def is_over(self) -> bool:
        return bool(self._robot.guard.state.latched) or self._held >= HELD_STEPS


@dataclass(frozen=True)
class LateTrial:
    """A trial and how often it starved."""

    trial: Trial
    ticks: int
    starved: int


def run_late_trial(
    robot: SimRobot,
    policy: Policy,
    scene: Scene,
    instruction: str,
    seed: int,
    *,
    execution: ExecutionConfig,
    latency: LatencyConfig,
) -> LateTrial:
    """Run a trial as `run_trial` does, with a policy whose answers come late.

    Synchronous and without latency both execute the same actions.

    Raises:
        InputError: The scene has no such task.
    """
    task = find_task(scene.cell, instruction)
    robot.reset(seed, task.name, scene)
    course = _Course(robot, task)
    clock = FakeClock(PERIOD_NS)
    driver = TickDriver(clock, course.move)
    planner = Planner(
        _RobotEyes(robot, clock),
        PolicySlot(policy),
        LateInference(clock, latency, np.random.default_rng(seed)),
        driver,
        clock=clock,
        numbering=Numbering(0),
        config=execution,
    )
    steps = run_episode(
        planner,
        driver,
        EpisodeTask(instruction=instruction, seed=seed, max_steps=task.max_steps),
        is_cancelled=course.is_over,
        on_step=course.on_step,
    )
    reason = ", ".join(robot.guard.state.latched)
    is_solved = robot.world.success(task.name)
    trial = Trial(instruction, seed, is_solved, course.solved_at or steps, 0, reason)
    return LateTrial(trial, driver.ticks, driver.starved_ticks)
