"""A real episode is judged by the learner while it waits for the episodes that it asked for."""

import io
import json
import sys

import pytest

from robot_agent.learn.source import CollectPlan, PipeSource
from robot_agent.ros.learner_process import LearnerError, LearnerProcess

ECHO = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)["judge"]
    event = {"event": "outcome", "outcome": "failure"} if asked == "e1" else {"event": "progress"}
    print(json.dumps(event), flush=True)
"""


def test_the_source_judges_in_between_and_still_gets_its_episodes():
    answers = io.StringIO('{"judge": "e1"}\n{"judge": "e2"}\n{"episodes": ["e1", "e2"]}\n')
    events = io.StringIO()
    source = PipeSource(answers, events)
    source.judge = {"e1": "success", "e2": "failure"}.__getitem__
    assert source.collect("v1", [CollectPlan("open the drawer", 2, 7)]) == ["e1", "e2"]
    said = [json.loads(line) for line in events.getvalue().splitlines()]
    assert [event["event"] for event in said] == ["collect", "outcome", "outcome"]
    assert [event["outcome"] for event in said[1:]] == ["success", "failure"]


def test_the_robot_asks_and_refuses_another_answer():
    learner = LearnerProcess([sys.executable, "-c", ECHO], lambda _: None)
    try:
        assert learner.judge("e1") == "failure"
        with pytest.raises(LearnerError, match=r"how e2 ended and said .*progress.*must be an"):
            learner.judge("e2")
    finally:
        learner.end()
