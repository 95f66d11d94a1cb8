"""The episode loop: plan beside the steps, execute one action after the other, or hold."""

from collections.abc import Callable
from typing import Protocol

from robot_agent.act.planner import EpisodeTask, Planner
from robot_agent.core.types import Proposal


class Driver(Protocol):
    """Takes one action at a time to the guard."""

    def execute(
        self,
        proposal: Proposal,
        is_cancelled: Callable[[], bool],
        meanwhile: Callable[[], None],
    ) -> None:
        """Return when the action was executed for its full period, or at once when cancelled."""

    def hold(self, *, is_starved: bool) -> None:
        """Let a moment pass without an action; one that should have been there is counted."""


def run_episode(
    planner: Planner,
    driver: Driver,
    task: EpisodeTask,
    *,
    is_cancelled: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, Proposal], None] = lambda *_: None,
) -> int:
    """Run one episode and return the number of actions that were executed.

    The planner looks and infers beside the steps, in the mode of its configuration. Where it has
    no action the arm holds. Weights that are recalled finish no chunk, and an operator's hand
    ends the step under way: what was planned is forgotten, and only what is seen afterwards
    counts. When the loop ends, for any reason, nothing more is proposed, and the guard holds.

    Raises:
        StaleObservationError: No fresh observation came.
        InputError: The policy does not know the instruction, or its chunk is malformed.
    """

    def is_over() -> bool:
        return planner.must_cut() or is_cancelled()

    planner.begin(task)
    steps = 0
    try:
        while steps < task.max_steps and not is_cancelled():
            proposal = planner.next()
            if proposal is None:
                driver.hold(is_starved=planner.is_starved)
                continue
            driver.execute(proposal, is_over, planner.refresh)
            steps += 1
            on_step(steps, proposal)
    finally:
        planner.cut()
    return steps
