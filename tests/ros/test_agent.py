"""The fast loop over real DDS: episodes, cancel, weights, recording."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from robot_agent import cli
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros.calls import ACTIVATE, DEACTIVATE
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions
from robot_agent.ros.up import Agent
from robot_agent.store.episode_store import EpisodeStore
from tests.ros.monitor import Monitor
from tests.ros.running import until, wait_for_actions, with_stub

TASK = "open the drawer"


def test_an_episode_runs_is_recorded_and_loads(agent: Agent, client: AgentClient) -> None:
    report = client.run_task(TASK, seed=2, max_steps=10)
    assert (report.steps, report.outcome, report.message) == (10, "failure", ""), report
    episode = EpisodeStore(agent.options.store_folder).load(report.episode_id)
    assert episode.num_steps == 10
    assert episode.images.shape == (11, 120, 160, 3)
    assert set(episode.weights_versions) == {"v1"}
    assert set(episode.controllers) == {"policy"}
    assert episode.judged_by == "sim"
    # Action t leads from frame t to frame t+1: the tool rises in the first chunk, then sinks.
    assert np.allclose(episode.proposed[:5, 2], 0.005)
    assert np.allclose(episode.proposed[5:, 2], -0.005)
    assert (np.diff(episode.stamps_ns) > 0.1e9).all()
    moved = np.abs(np.diff(episode.joints_rad, axis=0)).max(axis=1)
    assert (moved > 1e-4).all(), moved


def test_an_unknown_or_empty_instruction_is_refused_in_words(client: AgentClient) -> None:
    for instruction in ("dance", ""):
        report = client.run_task(instruction, is_simulated=False, is_recorded=False, max_steps=5)
        assert (report.outcome, report.steps) == ("abort", 0)
        assert "instruction" in report.message


def test_cancel_holds_at_once(client: AgentClient) -> None:
    with Monitor() as monitor:
        steps: list[int] = []
        report = client.run_task(
            TASK,
            max_steps=100,
            is_recorded=False,
            on_step=lambda feedback: steps.append(feedback.step),
            is_cancelled=lambda: len(steps) >= 3,
        )
        assert report.outcome == "abort"
        assert 3 <= report.steps <= 5
        cancelled_ns = monitor.now_ns()
        until(lambda: monitor.now_ns() - cancelled_ns > 5e8, 2.0, "half a second")
        assert monitor.last_motion_ns() - cancelled_ns < 3e8
        assert len(monitor.commands) > 20  # the guard goes on commanding the hold


def test_weights_change_in_mid_episode_and_no_chunk_mixes_versions(
    agent: Agent, client: AgentClient
) -> None:
    with ThreadPoolExecutor(1) as pool, Monitor() as monitor:
        episode = pool.submit(client.run_task, TASK, seed=2, max_steps=25)
        wait_for_actions(client, 3, episode)
        before = client.guard_state
        client.promote("v2")
        until(lambda: client.guard_state.weights_version == "v2", 5.0, "v2 moves the arm")
        assert client.roll_back("test") == "v1"
        until(lambda: client.policy_status.active_version == "v1", 5.0, "v1 acts again")
        report = episode.result(30.0)
    assert (report.steps, report.message) == (25, "")
    versions = EpisodeStore(agent.options.store_folder).load(report.episode_id).weights_versions
    assert set(versions) == {"v1", "v2"}
    assert [version for version, _ in itertools.groupby(versions)] == ["v1", "v2", "v1"]
    after = client.guard_state
    assert after.ticks > before.ticks + 200
    assert 19.0 < np.median(monitor.gaps_ms()) < 21.0  # lateness itself: robot-agent bench swap


def test_weights_that_cannot_be_loaded_change_nothing(client: AgentClient) -> None:
    with pytest.raises(ArmFaultError, match=r"v99: is unknown\. The active weights keep running"):
        client.promote("v99")
    listed = client.calls.call("weights/list")
    assert listed.active == "v1"
    assert "v2" in listed.versions


def test_a_camera_that_stops_ends_the_episode_and_the_arm_holds(client: AgentClient) -> None:
    with ThreadPoolExecutor(1) as pool, Monitor() as monitor:
        episode = pool.submit(client.run_task, TASK, max_steps=50, is_recorded=False)
        wait_for_actions(client, 2, episode)
        off_ns = monitor.now_ns()
        client.inject("camera", "off")
        report = episode.result(10.0)
        assert report.outcome == "abort"
        assert "camera" in report.message
        assert monitor.last_motion_ns() - off_ns < 1.0e9
        client.inject("camera", "ok")


def test_a_frozen_camera_ends_the_episode(client: AgentClient) -> None:
    with ThreadPoolExecutor(1) as pool:
        episode = pool.submit(client.run_task, TASK, max_steps=50, is_recorded=False)
        wait_for_actions(client, 2, episode)
        client.inject("camera", "stuck")
        report = episode.result(10.0)
        client.inject("camera", "ok")
    assert report.outcome == "abort"
    assert "same picture" in report.message


def test_an_inactive_guard_sends_nothing_and_an_episode_says_so(client: AgentClient) -> None:
    client.calls.change_state("arm_guard", DEACTIVATE)
    with Monitor(expects_commands=False) as monitor:
        report = client.run_task(TASK, is_simulated=False, is_recorded=False)
        assert report.outcome == "abort"
        assert "guard is silent" in report.message
        assert not monitor.commands
    assert client.calls.change_state("arm_guard", ACTIVATE)


def test_an_inactive_policy_takes_no_task(client: AgentClient) -> None:
    client.calls.change_state("policy", DEACTIVATE)
    with pytest.raises(ArmFaultError, match="not active or is busy"):
        client.run_task(TASK, is_simulated=False, is_recorded=False)
    assert client.calls.change_state("policy", ACTIVATE)


def test_a_second_agent_in_the_same_domain_is_refused_in_words(
    agent: Agent, ros_domain_id: int, tmp_path: Path
) -> None:
    options = AgentOptions(folder=tmp_path, releases=agent.options.releases)
    second = Agent(options, with_stub(options), domain_id=ros_domain_id)
    refusal = rf"an agent runs already in namespace .* of ROS domain {ros_domain_id}"
    with pytest.raises(ArmFaultError, match=refusal), second:
        pytest.fail("the second agent came up")
    assert not list((tmp_path / "logs").iterdir()), "a node was started"


def test_a_scene_of_another_cell_is_refused_as_the_guards_limits_would_be_wrong(
    client: AgentClient,
) -> None:
    with pytest.raises(ArmFaultError, match=r"cell 'sink'.*robot-agent up --sim --scene sink"):
        client.reset_world(1, "sink", "to_sink")


def test_a_scene_is_captured_as_a_start_frame(client: AgentClient, capsys) -> None:
    words = ["capture", "--scene", "kitchen", "--json"]
    assert cli.main([*words, "--instruction", TASK, "--instruction", "close the drawer"]) == 0
    frames = json.loads(capsys.readouterr().out)["results"]["frames"]
    assert [frame["instruction"] for frame in frames] == [TASK, "close the drawer"]
    for frame in frames:
        names = sorted(path.name for path in Path(frame["path"]).iterdir())
        assert names == ["frame.json", "frame.png"]


def test_a_scene_whose_name_is_no_folder_is_refused(client: AgentClient, capsys) -> None:
    assert cli.main(["capture", "--scene", "../kitchen", "--instruction", TASK]) == 1
    assert "../kitchen" in capsys.readouterr().err
