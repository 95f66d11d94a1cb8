"""An episode is replayed through the guard, and only where and when it may be."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robot_agent.core.errors import ArmFaultError, InputError
from robot_agent.core.types import Episode
from robot_agent.ros.client import AgentClient
from robot_agent.ros.replay import Replay
from robot_agent.ros.up import Agent
from robot_agent.store.episode_store import EpisodeStore
from tests.ros.running import until


@pytest.fixture
def recorded(agent: Agent, client: AgentClient) -> Episode:
    report = client.run_task("open the drawer", seed=1, max_steps=8)
    return EpisodeStore(agent.options.store_folder).load(report.episode_id)


def test_a_replay_ends_where_the_episode_did(client: AgentClient, recorded: Episode):
    replay = Replay(client)
    replay.require_free()
    before = client.guard_state.accepted
    seen: list[str] = []
    report = replay.play(
        recorded, lambda: False, lambda _: seen.append(client.guard_state.controller)
    )
    assert report.steps == recorded.num_steps
    assert report.message == "whole"
    assert client.guard_state.accepted >= before + recorded.num_steps
    assert set(seen) == {"operator"}
    assert report.apart_mm < 25.0
    until(lambda: client.guard_state.controller != "operator", 2.0, "the replay lets go")


def test_a_replay_that_is_ended_early_lets_go_and_a_stopped_guard_refuses(
    client: AgentClient, recorded: Episode
):
    replay = Replay(client)
    replay.require_free()
    steps: list[int] = []
    report = replay.play(recorded, lambda: len(steps) >= 3, steps.append)
    assert (report.steps, report.message) == (3, "ended early")
    client.stop()
    until(lambda: client.guard_state.latched, 2.0, "stopped")
    with pytest.raises(ArmFaultError, match="operator_stop"):
        replay.require_free()


def test_a_stop_in_the_middle_ends_a_replay(client: AgentClient, recorded: Episode):
    replay = Replay(client)
    replay.require_free()

    def stop(step: int) -> None:
        if step == 2:
            client.stop()

    with pytest.raises(ArmFaultError, match="operator_stop"):
        replay.play(recorded, lambda: False, stop)


def test_the_command_replays_and_views(agent: Agent, client: AgentClient, recorded: Episode):
    store = str(agent.options.store_folder)
    for words in ([], ["--view", "--rate", "10"]):
        command = [sys.executable, "-m", "robot_agent.cli", "episodes", "play"]
        done = subprocess.run(
            [*command, recorded.episode_id, "--store", store, *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Replay of" in done.stdout
    assert np.isfinite(recorded.actions).all()


def test_a_real_arm_moves_only_after_a_person_said_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    import io
    from types import SimpleNamespace

    from robot_agent.commands.episodes_play import _require_consent
    from tests.store.episodes import make_episode

    real, episode = SimpleNamespace(sim_state=None), make_episode()
    with pytest.raises(InputError, match="real arm"):
        _require_consent(real, episode, is_robot=False)
    with pytest.raises(InputError, match="person at a terminal"):
        _require_consent(real, episode, is_robot=True)
    for typed, is_said in (("move\n", True), ("yes\n", False), ("", False)):
        stdin = io.StringIO(typed)
        monkeypatch.setattr(stdin, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", stdin)
        if is_said:
            _require_consent(real, episode, is_robot=True)
        else:
            with pytest.raises(InputError, match="nothing was moved"):
                _require_consent(real, episode, is_robot=True)
    assert "hand on the switch" in capsys.readouterr().err
    _require_consent(SimpleNamespace(sim_state=object()), episode, is_robot=False)
