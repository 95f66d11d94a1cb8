"""A person takes over, judges, lets go and loses the device, over real DDS."""

import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from robot_agent.ros.client import AgentClient
from robot_agent.ros.up import Agent
from robot_agent.store.episode_store import EpisodeStore
from tests.ros.monitor import Monitor
from tests.ros.operating import Pad, command_line, teleop, typing
from tests.ros.running import until, wait_for_actions

TASK = "open the drawer"
REACTION_NS = 400_000_000
"""200 ms of the deadman's age, a step of the device, and what a busy machine adds."""


@pytest.fixture
def pad(client: AgentClient) -> Iterator[Pad]:
    made = Pad(client)
    yield made
    made.close()


@pytest.fixture
def operated(client: AgentClient, pad: Pad) -> Iterator["subprocess.Popen[str]"]:
    with teleop(client, "gamepad") as child:
        yield child


def wait_for(client: AgentClient, wanted: Any, timeout_s: float = 5.0) -> Any:
    return client.calls.wait_for("guard/state", wanted, timeout_s)


def controlled_by(who: str) -> Any:
    return lambda state: state.controller == who


def held_by(cause: str) -> Any:
    return lambda state: cause in state.causes


def test_a_correction_is_bumpless_recorded_and_the_policy_goes_on_from_a_fresh_look(
    agent: Agent, client: AgentClient, pad: Pad, operated: Any
) -> None:
    log_before = len(agent.log_path("arm_guard").read_text())
    with ThreadPoolExecutor(1) as pool, Monitor() as monitor:
        episode = pool.submit(client.run_task, TASK, seed=2, max_steps=25)
        wait_for_actions(client, 3, episode)
        gripper, first = client.guard_state.gripper_target, len(monitor.commands)
        pad.hold(up=0.5)
        taken = wait_for(client, controlled_by("operator"))
        until(lambda: client.guard_state.accepted >= taken.accepted + 6, 10.0, "six steps")
        assert client.guard_state.gripper_target == gripper
        assert client.policy_status.state == "running"
        pad.release()
        wait_for(client, controlled_by("policy"), 8.0)
        report = episode.result(30.0)
    found = EpisodeStore(agent.options.store_folder).load(report.episode_id)
    who = list(found.controllers)
    assert report.message == ""
    assert who.count("operator") >= 6
    assert who[-1] == "policy"
    operated_by = {found.weights_versions[k] for k, name in enumerate(who) if name == "operator"}
    assert operated_by == {"gamepad"}
    log = agent.log_path("arm_guard").read_text()[log_before:]
    assert log.index("control: policy") < log.index("control: operator (gamepad)")
    steps_rad = np.abs(np.diff(np.array(monitor.commands[first:]), axis=0)).max(axis=1)
    assert steps_rad.max() < 0.1, "a command jumped"


@pytest.mark.parametrize(("event", "outcome"), [("success", "success"), ("failure", "failure")])
def test_the_operator_ends_an_episode_with_a_judgement(
    agent: Agent, client: AgentClient, pad: Pad, operated: Any, event: str, outcome: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        episode = pool.submit(client.run_task, TASK, seed=2, max_steps=100)
        wait_for_actions(client, 2, episode)
        pad.press(event)
        report = episode.result(20.0)
    assert (report.outcome, report.is_to_repeat) == (outcome, False)
    assert report.steps < 100
    assert "gamepad" in report.message
    assert EpisodeStore(agent.options.store_folder).load(report.episode_id).judged_by == "operator"


@pytest.mark.parametrize(("event", "again"), [("discard", False), ("re_record", True)])
def test_what_the_operator_throws_away_is_not_kept(
    agent: Agent, client: AgentClient, pad: Pad, operated: Any, event: str, again: bool
) -> None:
    store = EpisodeStore(agent.options.store_folder)
    before = list(store.list())
    with ThreadPoolExecutor(1) as pool:
        episode = pool.submit(client.run_task, TASK, seed=2, max_steps=100)
        wait_for_actions(client, 2, episode)
        pad.press(event)
        report = episode.result(20.0)
    assert (report.outcome, report.episode_id, report.is_to_repeat) == ("abort", "", again)
    assert list(store.list()) == before


def test_a_device_that_falls_silent_in_use_holds_the_arm_until_it_is_back(
    client: AgentClient, pad: Pad, operated: Any
) -> None:
    with Monitor() as monitor:
        pad.hold(up=0.5)
        wait_for(client, controlled_by("operator"))
        until(lambda: client.guard_state.accepted >= 2, 5.0, "motion")
        pad.is_silent.set()
        silent_ns = monitor.now_ns()
        lost = wait_for(client, held_by("operator_lost"))
        assert lost.stamp_ns - silent_ns < REACTION_NS
        until(lambda: monitor.now_ns() - silent_ns > 8e8, 2.0, "some time")
        assert monitor.last_motion_ns() - silent_ns < REACTION_NS
        pad.release()
        pad.is_silent.clear()
        wait_for(client, lambda state: not state.causes)


def test_a_killed_device_node_holds_the_arm(client: AgentClient, pad: Pad) -> None:
    with teleop(client, "gamepad") as child, Monitor() as monitor:
        pad.hold(up=0.5)
        wait_for(client, controlled_by("operator"))
        child.kill()
        killed_ns = monitor.now_ns()
        assert wait_for(client, held_by("operator_lost")).stamp_ns - killed_ns < REACTION_NS
    with teleop(client, "gamepad"):
        pad.release()
        wait_for(client, lambda state: not state.causes, 10.0)


def test_numbers_that_are_none_are_no_sign_of_life(
    client: AgentClient, pad: Pad, operated: Any
) -> None:
    pad.hold(up=0.5)
    wait_for(client, controlled_by("operator"))
    pad.hold(up=float("nan"))
    state = wait_for(client, held_by("operator_lost"))
    assert np.isfinite(list(state.sent)).all()
    pad.release()
    wait_for(client, lambda state: not state.causes)


def test_a_flood_of_5_khz_is_thinned_to_the_newest_and_the_guard_keeps_its_ticks(
    client: AgentClient, pad: Pad, operated: Any
) -> None:
    pad.hold(up=0.1)
    wait_for(client, controlled_by("operator"))
    pad.period_s = 0.0002
    with Monitor() as monitor:
        before, begun_ns = client.guard_state, monitor.now_ns()
        until(lambda: monitor.now_ns() - begun_ns > 2e9, 5.0, "two seconds of flood")
        after = client.guard_state
    assert after.controller == "operator", "the newest report still counts"
    ticks = after.ticks - before.ticks
    assert ticks > 95
    assert np.median(monitor.gaps_ms()) == pytest.approx(20.0, abs=1.0)
    pad.period_s = 0.02
    pad.release()
    wait_for(client, lambda state: state.controller != "operator")


def hold_key(terminal: int, key: bytes, until_true: Any, what: str) -> None:
    """Hold a key until something is so; a terminal repeats it 25 times a second."""
    pause = threading.Event()

    def repeat() -> bool:
        os.write(terminal, key)
        pause.wait(0.04)
        return bool(until_true())

    until(repeat, 10.0, what)


def test_two_devices_that_hold_at_once_hold_the_arm_until_one_lets_go(
    client: AgentClient, pad: Pad, operated: Any
) -> None:
    with typing(client) as terminal:
        pad.hold(up=0.2)
        wait_for(client, controlled_by("operator"))
        hold_key(terminal, b"w", lambda: "two_operators" in client.guard_state.causes, "rivals")
        # The key is released; after a second without a rival the gamepad goes on.
        moved = client.guard_state.accepted
        until(lambda: client.guard_state.accepted > moved + 1, 8.0, "the gamepad alone")
        assert client.guard_state.weights_version == "gamepad"
        pad.release()
        wait_for(client, lambda state: state.controller != "operator")


def test_a_held_key_moves_the_arm_and_q_stops_it(client: AgentClient) -> None:
    with typing(client) as terminal:
        height_m = wait_for(client, lambda state: len(state.tool_target_m) == 3).tool_target_m[2]
        hold_key(terminal, b"r", lambda: client.guard_state.accepted >= 3, "three steps")
        state = client.guard_state
        assert (state.controller, state.weights_version) == ("operator", "keyboard")
        assert 0.015 < state.tool_target_m[2] - height_m < 0.06
        wait_for(client, lambda state: state.controller != "operator")
        os.write(terminal, b"q")
        assert "operator_stop" in wait_for(client, lambda state: state.latched).causes


def test_a_second_device_of_one_name_is_refused_in_words(
    client: AgentClient, pad: Pad, operated: Any
) -> None:
    second = subprocess.run(
        command_line("gamepad"), capture_output=True, text=True, timeout=30, check=False
    )
    assert second.returncode == 2
    assert "a device 'gamepad' operates namespace /wx250s" in second.stderr


@pytest.mark.parametrize(
    ("device", "values", "says"),
    [
        ("keyboard", {}, "is no terminal"),
        ("wheel", {}, "must be one of keyboard, gamepad"),
        ("gamepad", {"speed_mps": 3.0}, "speed_mps"),
        ("gamepad", {"layout": "wheel"}, "must be one of joy, game_controller"),
    ],
)
def test_a_device_that_cannot_work_is_refused_with_the_remedy(
    ros_domain_id: int, device: str, values: dict[str, Any], says: str
) -> None:
    found = subprocess.run(
        command_line(device, **values),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert found.returncode != 0
    assert says in found.stderr
