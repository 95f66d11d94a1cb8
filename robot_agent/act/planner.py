"""Keeps the plan filled while the arm executes it: looks, infers beside the tick, joins chunks."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from robot_agent.act.execution import ExecutionConfig, refill_after
from robot_agent.act.executor import PERIOD_NS, Numbering
from robot_agent.act.inference import Inference
from robot_agent.act.plan import Plan
from robot_agent.core.errors import InputError, InstructionError, PolicyAwayError
from robot_agent.core.protocols import Clock, Policy
from robot_agent.core.types import ACTION_DIM, Chunk, Observation, Proposal, require_array

_LATENCIES = 10
"""Newest latencies of which the longest says how many steps an inference takes."""
_NEVER = -1


@dataclass(frozen=True, kw_only=True)
class EpisodeTask:
    """What one episode is about."""

    instruction: str
    seed: int = 0
    max_steps: int = 60

    def __post_init__(self) -> None:
        """Refuse an empty instruction and a length that is not sensible."""
        if not self.instruction.strip():
            raise InputError("instruction is empty. Say what the robot shall do.")
        if not 1 <= self.max_steps <= 10_000:
            raise InputError(f"max_steps={self.max_steps} is outside [1, 10000]. Choose fewer.")


class Eyes(Protocol):
    """Pictures and joints, paired, without waiting."""

    def newest(self, not_before_ns: int) -> Observation | None:
        """Return the newest observation that is not older, or None; StaleObservationError."""


class Slot(Protocol):
    """Holds the weights in use."""

    @property
    def is_recalled(self) -> bool:
        """Whether the weights in use must not act any more."""

    @property
    def next_policy(self) -> Policy:
        """The policy that the next chunk is to come from."""

    def begin_chunk(self, policy: Policy) -> bool:
        """Let a chunk of `policy` act from now on; False when it must not."""


class StepTimes(Protocol):
    """Knows when steps end."""

    @property
    def end_ns(self) -> int:
        """Time at which the newest action was, or will have been, executed for 200 ms."""


_Source = tuple[Policy, str]
"""Weights and the instruction that they follow."""


@dataclass(frozen=True)
class _Request:
    source: _Source
    step: int
    """The step that came next when the observation was made."""
    begun_ns: int


class Planner:
    """Looks, infers, and says what comes next, for the episode's thread; any may `instruct`.

    One inference at a time runs beside the steps. Its chunk joins the plan at the steps that it
    is meant for; those that went by meanwhile are dropped. Other weights take over, and another
    instruction begins, with their first chunk, and nothing is mixed across that boundary.
    """

    def __init__(
        self,
        eyes: Eyes,
        slot: Slot,
        inference: Inference,
        times: StepTimes,
        *,
        clock: Clock,
        numbering: Numbering,
        config: ExecutionConfig | None = None,
        is_operated: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_operated` says whether an operator acts, or has acted since it was last asked."""
        self._eyes, self._slot, self._inference, self._times = eyes, slot, inference, times
        self._clock, self._numbering, self._is_operated = clock, numbering, is_operated
        self._config = config or ExecutionConfig()
        self._plan = Plan(self._config)
        self._latencies_ns: deque[int] = deque([0], maxlen=_LATENCIES)
        self._request: _Request | None = None
        self._source: _Source | None = None  # of what is planned
        self._chunk = 1
        self.begin(EpisodeTask(instruction="none"))

    @property
    def asked(self) -> str:
        """The instruction that the inference under way follows."""
        return self._told[1] if self._told is not None else self.instruction

    @property
    def dropped(self) -> int:
        """Actions that came after their step, since the beginning."""
        return self._plan.dropped

    @property
    def is_starved(self) -> bool:
        """Whether the arm was under way and has nothing to go on with."""
        return self._is_under_way and not len(self._plan)

    def begin(self, task: EpisodeTask) -> None:
        """Begin an episode: only what is seen from now on counts."""
        self.cut()
        self._seed = task.seed
        self._told: _Source | None = None
        self._wish = self.instruction = task.instruction
        self._refused = ""
        self.refusal = ""
        """Why the newest instruction was refused, or empty."""
        self.away = ""
        """Why a policy that runs elsewhere does not answer now, or empty."""

    def instruct(self, instruction: str) -> None:
        """Change the instruction with the next chunk; `refusal` says why when weights refuse it.

        Raises:
            InputError: The instruction is empty.
        """
        self._wish = EpisodeTask(instruction=instruction).instruction

    def cut(self) -> None:
        """Forget what is planned and being thought; the next step is a new beginning."""
        self._forget()
        self._is_under_way = False

    def must_cut(self) -> bool:
        """Return whether the step under way must end, and forget what is planned if so.

        It must when an operator acts, or when the weights behind the plan are recalled.
        """
        if self._is_operated():
            self.cut()
            return True
        if self._slot.is_recalled and self._source is not None:
            self._forget()
            return True
        return False

    def next(self) -> Proposal | None:
        """Return the action of the next step, or None while there is none."""
        if self.must_cut():
            return None
        self.refresh()
        planned = None if self.must_cut() else self._plan.pop()
        if planned is None:
            return None
        self._is_under_way = True
        return self._numbering.number(planned)

    def refresh(self) -> None:
        """Take a chunk that has come, and ask for another when it is time; never waits.

        Raises:
            InputError: The policy refused the instruction or the observation, or its chunk is
                malformed.
            StaleObservationError: No fresh observation came.
        """
        self._collect()
        if len(self._plan) < self._refill() and not self._inference.is_busy:
            self._ask()
            self._collect()

    def _refill(self) -> int:
        if self._config.is_synchronous:
            return 1
        return self._config.refill or refill_after(self._latencies_ns, self._chunk, PERIOD_NS)

    def _forget(self) -> None:
        self._plan.clear()
        self._inference.drop()
        self._request = self._source = None
        self._seen_step, self._fresh_ns = _NEVER, self._clock.now_ns()

    def _ask(self) -> None:
        """Begin an inference on a picture of a step that none was made for yet."""
        source = self._tell(self._slot.next_policy)
        end_ns = self._times.end_ns
        begun_ns = end_ns - PERIOD_NS
        edge_ns = end_ns if self._config.is_synchronous else begun_ns - PERIOD_NS // 2
        observation = self._eyes.newest(max(self._fresh_ns, edge_ns))
        if observation is None:
            return
        step = self._plan.next_step
        if self._fresh_ns <= begun_ns:  # a picture belongs to the boundary that is nearest
            step += min(0, round((observation.stamp_ns - begun_ns) / PERIOD_NS) - 1)
        if step <= self._seen_step:
            return
        self._seen_step = step
        ahead = None
        if self._config.mode == "real_time_chunking" and source == self._source:
            ahead = self._plan.ahead(step, -(-max(self._latencies_ns) // PERIOD_NS))
        self._request = _Request(source, step, self._clock.now_ns())
        self._inference.start(source[0], observation, ahead)

    def _tell(self, policy: Policy) -> _Source:
        """Tell the policy what it shall do, unless it knows; return both."""
        wish = self._wish if self._wish != self._refused else self.instruction
        if self._told != (policy, wish):
            try:
                policy.reset(wish, self._seed)
            except InputError as error:
                if wish == self.instruction:
                    raise
                self._refused, self.refusal = wish, str(error)
                policy.reset(self.instruction, self._seed)
                wish = self.instruction
        self._told = policy, wish
        return self._told

    def _take(self) -> Chunk | None:
        """Return the chunk that has come; one that could not be made is asked for anew."""
        try:
            return self._inference.take()
        except PolicyAwayError as error:
            self.away = str(error)
        except InstructionError as error:
            if self.asked == self.instruction:
                raise
            self._refused, self.refusal = self.asked, str(error)
        self._request, self._seen_step = None, _NEVER
        return None

    def _collect(self) -> None:
        chunk, request = self._take(), self._request
        if chunk is None or request is None:
            return
        self._request, self.away = None, ""
        require_array("chunk.actions", chunk.actions, (None, ACTION_DIM), finite=False)
        if not len(chunk.actions):
            raise InputError(
                f"{chunk.weights_version}: its chunk holds no action, must hold one or more. "
                f"Roll back the weights."
            )
        self._latencies_ns.append(self._clock.now_ns() - request.begun_ns)
        if not self._slot.begin_chunk(request.source[0]):
            self._seen_step = _NEVER
            return
        self._chunk = min(len(chunk.actions), self._config.horizon or len(chunk.actions))
        continues = request.source == self._source
        self._plan.take(chunk, self._numbering.next_chunk(), request.step, continues=continues)
        self._source, self.instruction = request.source, request.source[1]
