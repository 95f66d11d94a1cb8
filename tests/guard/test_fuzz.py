"""Any proposal, from any pose: no unsafe command, judged by a checker that shares no code.

The full run is `pytest -m slow tests/guard/test_fuzz.py`: a million proposals, one core.
"""

import itertools
from typing import Any

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.core.types import Proposal
from robot_agent.guard.guard import step
from robot_agent.guard.limits import GuardConfig
from robot_agent.guard.state import GuardInputs, GuardState, initial_state
from tests.guard import checker
from tests.guard.paper_arm import MS, START_NS, make_measured

_EDGES = [np.nextafter(0.15, 1), np.nextafter(0.75, 1), 0.05, 0.15, 0.25, 0.75, -0.5, 1.5, 3.0]
_ODD = [np.nan, np.inf, -np.inf, -0.0, 5e-324, -2.2e-308, 1e308, -1e308, 1e-300, 1e9]
_SPECIAL = np.array([*_EDGES, *_ODD])
_BATCH = 5_000
_NOT_HUGE = np.array([0.15] * 3 + [0.75] * 3 + [1.5])


def _poses(rng: np.random.Generator, count: int) -> list[GuardState]:
    """Return states at poses all over the box, some at its faces, some with a broken limit."""
    states = []
    while len(states) < count:
        position_m = rng.uniform([0.08, -0.27, 0.01], [0.50, 0.32, 0.37])
        T = wx250s.pose_at(position_m, rng.uniform(-1.2, 0.3))
        joints_rad = wx250s.inverse(T, wx250s.NEUTRAL_RAD + rng.normal(0.0, 0.2, 6))
        if joints_rad is not None:
            states.append(initial_state(make_measured(joints_rad, START_NS, rng.uniform(0, 0.04))))
    for pose_rad in (wx250s.SLEEP_RAD, wx250s.NEUTRAL_RAD, wx250s.JOINT_UPPER_RAD):
        states.append(initial_state(make_measured(pose_rad, START_NS)))
    return states


def _bits(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 2**64, (count, 7), dtype=np.uint64).view(np.float64)


def _special(rng: np.random.Generator, count: int) -> np.ndarray:
    actions = rng.normal(0.0, 0.03, (count, 7))
    chosen = rng.random((count, 7)) < 0.4
    chosen[np.arange(count), rng.integers(0, 7, count)] = True
    return np.where(chosen, rng.choice(_SPECIAL, (count, 7)), actions)


def _scaled(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.normal(0.0, 1.0, (count, 7)) * 10.0 ** rng.uniform(-1.0, 300.0, (count, 1))


def _usual(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.uniform(-_NOT_HUGE, _NOT_HUGE, (count, 7)) * rng.choice([0.2, 1.0], (count, 1))


def _batch(rng: np.random.Generator, usual: int) -> np.ndarray:
    rest = _BATCH - usual
    parts = [_bits(rng, rest // 3), _special(rng, rest // 3), _scaled(rng, rest - 2 * (rest // 3))]
    return np.concatenate([*parts, _usual(rng, usual)])


def _wrong(rng: np.random.Generator, action: np.ndarray) -> Any:
    """Return what a broken policy might send in place of seven numbers."""
    choices = [None, "", [0.0] * 7, action[:6], action[None], action.astype(complex), object()]
    choices += [np.zeros(0), action.astype(str), np.array([None] * 7), action > 0, float("nan")]
    return choices[int(rng.integers(len(choices)))]


def _judge(rng: np.random.Generator, states: list[GuardState], usual: int) -> list[str]:
    """Send one batch, each from a state of its own, and return the checker's complaints."""
    config = GuardConfig()
    targets, measured = np.empty((_BATCH, 6)), np.empty((_BATCH, 6))
    tools, pwm, moved = np.empty((_BATCH, 4, 4)), np.empty(_BATCH), np.zeros(_BATCH, bool)
    now_ns = START_NS + 20 * MS
    for i, action in enumerate(_batch(rng, usual)):
        state = states[int(rng.integers(len(states)))]
        sent = _wrong(rng, action) if i % 50 == 0 else action
        proposal = Proposal(sent, "v", 0, 0, 1, now_ns, now_ns + 200 * MS)
        inputs = GuardInputs(state.measured, proposal, policy_alive_ns=now_ns)
        command, after = step(config, state, now_ns, inputs)
        measured[i], moved[i] = state.measured.joints_rad, after.accepted_this_tick
        targets[i], tools[i] = command.joints_rad, command.tool_target
        pwm[i] = command.gripper_pwm
    complaints = checker.faults(measured, targets, tools, pwm, moved)
    if usual and not usual // 4 < moved.sum() <= usual + (_BATCH - usual) // 3:
        complaints.append(f"{moved.sum()} accepted of {usual} usual proposals: a poor test")
    return complaints


@pytest.mark.parametrize("part", range(4))
def test_twenty_thousand_proposals_give_no_unsafe_command(part):
    rng = np.random.default_rng(part)
    assert _judge(rng, _poses(rng, 60), usual=1_000) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a minute on an idle core, many on a busy one
def test_a_million_proposals_give_no_unsafe_command():
    rng = np.random.default_rng(7)
    states = _poses(rng, 300)
    complaints = [_judge(rng, states, usual=60) for _ in range(1_000_000 // _BATCH)]
    assert list(itertools.chain(*complaints)) == []


def test_three_thousand_steps_of_a_wild_policy_stay_inside_every_limit():
    rng = np.random.default_rng(11)
    config, now_ns = GuardConfig(), START_NS
    measured_rad = wx250s.NEUTRAL_RAD.copy()
    state = initial_state(make_measured(measured_rad, now_ns))
    rows: list[tuple[Any, ...]] = []
    direction = np.zeros(7)
    for i in range(3_000):
        now_ns += 200 * MS
        if i % 20 == 0:
            direction = rng.normal(0.0, 1.0, 7) * ([0.04] * 3 + [0.02] * 3 + [1.0])
        action = direction + rng.normal(0.0, 0.3, 7) * ([0.04] * 3 + [0.05] * 3 + [0.1])
        action = np.clip(action, -_NOT_HUGE, _NOT_HUGE)
        action[6] = max(action[6], -0.5)
        proposal = Proposal(action, "v", 0, 0, i, now_ns, now_ns + 200 * MS)
        inputs = GuardInputs(make_measured(measured_rad, now_ns), proposal, None, now_ns)
        command, state = step(config, state, now_ns, inputs)
        if state.accepted_this_tick:
            row = (measured_rad, command.joints_rad, command.tool_target, command.gripper_pwm)
            rows.append(row)
        measured_rad = measured_rad + rng.uniform(0.5, 1.0) * (command.joints_rad - measured_rad)
    assert not state.latched
    assert len(rows) > 1_000
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    assert checker.faults(*columns, np.ones(len(rows), bool)) == []
