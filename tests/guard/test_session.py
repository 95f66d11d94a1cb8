"""The guard in one process, as simulation and demonstrators use it."""

import numpy as np
import pytest

from robot_agent.core.errors import ArmFaultError
from robot_agent.guard.session import TICK_NS, TICKS_PER_STEP, GuardSession
from robot_agent.guard.state import GuardInputs
from tests.guard.paper_arm import START_NS, WORK_RAD, make_action, make_measured


class _Arm:
    """Follows every command at once and counts them."""

    def __init__(self, session):
        self.joints_rad, self.now_ns, self.commands = WORK_RAD, START_NS, []
        session.reset(make_measured(WORK_RAD, START_NS))

    def move(self, command):
        self.commands.append(command)
        self.joints_rad = self.joints_rad + 0.5 * (command.joints_rad - self.joints_rad)
        self.now_ns += TICK_NS
        return make_measured(self.joints_rad, self.now_ns)


def test_a_session_without_joints_says_what_to_do():
    with pytest.raises(ArmFaultError, match=r"Call reset\(measured\) first"):
        GuardSession().tick(0, GuardInputs(None))


def test_one_action_is_ten_ticks():
    session = GuardSession()
    arm = _Arm(session)
    now_ns = session.execute(make_action(0.02), START_NS, arm.move, weights_version="v3")
    assert now_ns == START_NS + 10 * TICK_NS == arm.now_ns
    assert len(arm.commands) == TICKS_PER_STEP == 10
    assert arm.commands[0].weights_version == "v3"
    assert session.state.sent[0] == 0.02


def test_a_hundred_actions_in_a_row_are_all_accepted():
    session = GuardSession()
    arm = _Arm(session)
    now_ns = START_NS
    for k in range(100):
        now_ns = session.execute(make_action(0.01 if k % 2 else -0.01), now_ns, arm.move)
    assert session.state.counters.accepted == 100
    assert session.state.mode == "active"


def test_a_refused_action_is_recorded_as_zeros_and_the_held_gripper():
    session = GuardSession()
    arm = _Arm(session)
    now_ns = session.execute(make_action(0.02, gripper=0.4), START_NS, arm.move)
    session.execute(np.full(7, np.nan), now_ns, arm.move)
    assert session.state.sent.tolist() == [0, 0, 0, 0, 0, 0, 0.4]
    assert session.state.hold_causes == ("non_finite",)


def test_reset_starts_a_new_episode():
    session = GuardSession()
    arm = _Arm(session)
    session.execute(np.full(7, np.nan), START_NS, arm.move)
    arm = _Arm(session)
    session.execute(make_action(0.02), START_NS, arm.move)
    assert session.state.counters.accepted == 1
    assert session.config.max_tool_speed_mps == 0.25


def test_an_operator_moves_the_arm_and_the_policy_goes_on_afterwards():
    session = GuardSession()
    arm = _Arm(session)
    now_ns = session.execute(make_action(0.02), START_NS, arm.move, weights_version="v3")
    for _ in range(3):
        now_ns = session.correct(make_action(-0.01, gripper=0.0), now_ns, arm.move)
        assert session.state.controller == "operator"
        assert session.state.last_version == "operator"
        assert session.state.sent[[0, 6]].tolist() == [-0.01, 0.0]
    now_ns = session.execute(make_action(0.02), now_ns, arm.move, weights_version="v3")
    assert session.state.controller == "policy"
    assert session.state.last_version == "v3"
    assert session.state.sent[0] == 0.02
    assert now_ns == START_NS + 50 * TICK_NS == arm.now_ns
