"""Any sequence of events: the latch never clears by itself, holding never moves, no jumps."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from robot_agent.guard.reactions import REACTIONS
from robot_agent.guard.state import ResetRequest
from tests.guard import checker
from tests.guard.paper_arm import MS, PaperArm, make_action

_STEP = st.tuples(*[st.floats(-0.06, 0.06)] * 3, *[st.floats(-0.1, 0.1)] * 3)
_STOPS = sorted(cause for cause, row in REACTIONS.items() if row.kind == "stop")
_BAD = st.sampled_from([float("nan"), float("inf"), 0.2, -1e308])


class GuardMachine(RuleBasedStateMachine):
    """Drives a guard with everything that can happen to it, and judges every tick."""

    def __init__(self):
        super().__init__()
        self.arm = PaperArm()
        self.before = self.arm.state
        self.asked_reset = None
        self.measured = self.arm.joints_rad.copy()

    def _tick(self, proposal=None, **inputs):
        self.before, self.asked_reset = self.arm.state, inputs.get("reset")
        self.measured = self.arm.joints_rad.copy()
        self.arm.tick(proposal, **inputs)
        self._judge()

    def _judge(self):
        before, after, command = self.before, self.arm.state, self.arm.command
        if before.latched and self.asked_reset is None:
            assert set(before.latched) <= set(after.latched)
        if command is None:
            return
        moved = not np.array_equal(after.joint_target, before.joint_target)
        relaxed = np.abs(after.joint_target - self.measured).max() < 1e-12
        assert not moved or after.accepted_this_tick or relaxed
        if before.latched and after.latched:
            assert not moved
        if before.hold_causes and after.hold_causes and before.is_relaxed:
            assert not moved
        if (
            before.controller != after.controller
            and "operator" in (before.controller, after.controller)
            and not after.accepted_this_tick
        ):
            assert relaxed or after.latched or before.is_relaxed
        rows = (self.measured[None], command.joints_rad[None], command.tool_target[None])
        if after.accepted_this_tick:
            pwm = np.array([command.gripper_pwm])
            assert checker.faults(*rows, pwm, np.ones(1, bool)) == []

    @rule(step=_STEP, gripper=st.floats(0, 1), ticks=st.integers(1, 12))
    def propose(self, step, gripper, ticks):
        self._tick(self.arm.propose(make_action(*step, gripper=gripper)))
        for _ in range(ticks):
            self._tick()

    @rule(bad=_BAD, axis=st.integers(0, 6))
    def propose_nonsense(self, bad, axis):
        action = make_action()
        action[axis] = bad
        self._tick(self.arm.propose(action))

    @rule(late_ms=st.integers(-300, 300), old_ms=st.integers(-300, 6000))
    def propose_at_a_wrong_time(self, late_ms, old_ms):
        now_ns = self.arm.now_ns
        times = {"deadline_ns": now_ns - late_ms * MS, "stamp_ns": now_ns - old_ms * MS}
        self._tick(self.arm.propose(make_action(0.03), **times))

    @rule(step=_STEP, ticks=st.integers(1, 15))
    def operate(self, step, ticks):
        for _ in range(ticks):
            self._tick(operator=self.arm.operate(*step))

    @rule(ticks=st.integers(1, 60))
    def wait(self, ticks):
        for _ in range(ticks):
            self._tick()

    @rule(ticks=st.integers(1, 20))
    def lose_the_policy(self, ticks):
        for _ in range(ticks):
            self._tick(policy_alive_ns=None)

    @rule(ticks=st.integers(1, 14))
    def lose_the_driver(self, ticks):
        for _ in range(ticks):
            self._tick(measured=None)

    @rule()
    def press_stop(self):
        self._tick(stop=True)

    @rule(count=st.sampled_from([0, 2]))
    def start_a_rogue_publisher(self, count):
        self._tick(num_command_publishers=count)

    @rule(cause=st.sampled_from([*_STOPS, "all"]), operator=st.sampled_from(["Ada", ""]))
    def ask_for_a_reset(self, cause, operator):
        before = self.arm.state.latched
        self._tick(reset=ResetRequest(operator, cause))
        gone = set(before) - set(self.arm.state.latched)
        assert gone <= ({cause} if operator else set())

    @rule()
    def reset_everything(self):
        for cause in self.arm.state.latched:
            self.arm.tick()
            self.before = self.arm.state
            self.arm.reset(cause)
            assert not self.arm.state.accepted_this_tick

    @rule(push=st.floats(-0.05, 0.05))
    def push_the_arm(self, push):
        self.arm.joints_rad = self.arm.joints_rad + push

    @invariant()
    def state_is_consistent(self):
        state = self.arm.state
        assert (state.mode == "stopped") == bool(state.latched)
        assert (state.mode == "hold") == bool(state.holds)
        assert all(REACTIONS[cause].kind == "stop" for cause in state.latched)
        assert all(REACTIONS[cause].kind == "hold" for cause in state.hold_causes)
        assert np.isfinite(state.joint_target).all()
        assert 0.0 <= state.gripper_target <= 1.0


GuardMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestAnySequenceOfEvents = GuardMachine.TestCase
