"""A reward from a file: only with an audit of exactly this judge, instruction and threshold."""

import dataclasses
import json

import pytest

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.evaluate.clip_judges import read_vlm_judge
from robot_agent.evaluate.judge_audit import Audit, InstructionAudit
from robot_agent.learn.improve import ImproveConfig
from robot_agent.learn.reward_file import load_reward
from robot_agent.models.tiny_team import INSTRUCTIONS

GOOD = InstructionAudit(
    **{
        field.name: {"use": "train", "reasons": (), "threshold": 0.5}.get(field.name, 0)
        for field in dataclasses.fields(InstructionAudit)
    }
)


@pytest.fixture
def judge(tmp_path):
    """Return a judge's file and a function that writes its audit."""
    path = tmp_path / "judge.yaml"
    path.write_text('server: {url: "http://127.0.0.1:9/v1", model: "judge-2026-01-01"}\n')
    name = read_vlm_judge(path)[1]

    def audited(audit=GOOD, of=name, instructions=INSTRUCTIONS):
        found = {instruction: dataclasses.asdict(audit) for instruction in instructions}
        content = {**Audit(of, {}).to_json(), "judge": of, "instructions": found}
        path.with_suffix(".audit.json").write_text(json.dumps(content))

    return path, audited


def load(path):
    return load_reward(path, INSTRUCTIONS, path.with_name("memory.jsonl"))


def test_an_audited_judge_may_be_the_reward(judge):
    path, audited = judge
    audited()
    reward = load(path)
    assert reward.instructions == INSTRUCTIONS
    assert reward.spent == ""


def test_without_an_audit_there_is_no_reward(judge):
    with pytest.raises(ConfigError, match="a reward must be audited"):
        load(judge[0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"of": "another"}, "the audit is of judge another"),
        ({"instructions": INSTRUCTIONS[:1]}, "has no audit for 'close the drawer'"),
        (
            {"audit": dataclasses.replace(GOOD, use="compare", reasons=("false alarms",))},
            "its audit allows 'compare' for 'open the drawer', must be 'train': false alarms",
        ),
        (
            {"audit": dataclasses.replace(GOOD, threshold=0.3)},
            "threshold is 0.5, the audit is of 0.3",
        ),
    ],
)
def test_an_audit_of_something_else_stops_with_the_reason(judge, changes, words):
    path, audited = judge
    audited(**changes)
    with pytest.raises(InputError, match=words):
        load(path)


def test_the_shipped_classifiers_are_the_reward_unless_told():
    assert ImproveConfig().reward == ""
