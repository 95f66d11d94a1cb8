"""An episode is recorded anew only when nobody's hands are in the scene."""

import argparse
import io

import pytest

from robot_agent.commands import agent


@pytest.mark.parametrize(
    ("is_robot", "is_tty", "typed", "again"),
    [
        (False, False, "", True),
        (True, True, "\n", True),
        (True, True, "", False),
        (True, False, "\n", False),
    ],
)
def test_the_scene_is_put_back_before_an_episode_is_recorded_anew(
    monkeypatch, capsys, is_robot, is_tty, typed, again
):
    stdin = io.StringIO(typed)
    monkeypatch.setattr(stdin, "isatty", lambda: is_tty)
    monkeypatch.setattr("sys.stdin", stdin)
    assert agent._is_scene_put_back(argparse.Namespace(robot=is_robot)) is again
    assert ("step away from the arm" in capsys.readouterr().err) == (is_robot and is_tty)
