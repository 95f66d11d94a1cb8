"""Trials over ROS against an agent without ROS: promotion, blindness, aborts, who decides."""

from types import SimpleNamespace

import numpy as np
import pytest

from robot_agent.core.errors import ArmFaultError
from robot_agent.evaluate.comparison import compare
from robot_agent.evaluate.judging import ClipJudge
from robot_agent.evaluate.success import JudgeDecision, OperatorKeys, SimulatorTruth
from robot_agent.evaluate.suites import Assignment, Suite
from robot_agent.ros.trial_runner import RosRunner
from robot_agent.sim.scenes import HOME

SUITE = Suite(name="test", assignments=(Assignment(HOME, "open the drawer", 30),), trials=2)
VERSIONS = {"old": "v0001-aaaa", "new": "v0002-bbbb"}


class FakeAgent:
    """Keeps what `AgentClient` promises: a task runs with the weights promoted last."""

    def __init__(self, outcome_of=lambda version, seed: "failure", active="v0001-aaaa"):
        self._outcome_of, self.active, self.ran, self.orders = outcome_of, active, [], []
        self.guard_state = SimpleNamespace(changes=[], causes=[])
        self.sim_state, self.solved = SimpleNamespace(success=False), ()

    @property
    def policy_status(self):
        return SimpleNamespace(active_version=self.active)

    def promote(self, version):
        self.active = version
        return f"{version} acts now"

    def run_task(self, instruction, *, on_step, is_cancelled=None, **order):
        outcome = self._outcome_of(self.active, order["seed"])
        self.orders.append(order)
        if outcome == "silence":
            raise ArmFaultError("policy: not running the task for 3.1 s, limit 3.0 s.")
        self.ran.append((self.active, order["seed"]))
        for step in range(4):
            self.guard_state.changes = ["step 0.060 m: shortened"] if step == 2 else []
            self.sim_state.success = step + 1 in self.solved
            on_step(SimpleNamespace(step=step + 1))
        return SimpleNamespace(
            outcome=outcome, steps=4, weights_version=self.active, message="latched: stop",
            episode_id=f"e{len(self.ran)}" if order["is_recorded"] else "",
        )  # fmt: skip


@pytest.fixture
def policies(tmp_path):
    for name in VERSIONS:
        (tmp_path / name).write_text(name)
    return {name: tmp_path / name for name in VERSIONS}


def run(policies, tmp_path, runner):
    return compare(policies, runner, SUITE, journal=tmp_path / "trials.jsonl")


def test_each_trial_runs_with_its_release_and_the_first_one_acts_again(policies, tmp_path):
    agent = FakeAgent(lambda version, _: "success" if version == "v0002-bbbb" else "failure")
    found = run(policies, tmp_path, RosRunner(agent, VERSIONS, SimulatorTruth()))
    assert agent.active == "v0001-aaaa"
    assert found.rate("new").successes == 2
    assert found.rate("old").successes == 0
    seeds = sorted({seed for _, seed in agent.ran})
    assert sorted(agent.ran) == sorted((v, s) for v in VERSIONS.values() for s in seeds)
    assert [r.safety_events for r in found.records] == [1] * 4
    assert {r.place for r in found.records} == {"ros"}
    order = agent.orders[0]
    assert (order["is_simulated"], order["is_recorded"], order["scene"]) == (True, False, "home")
    again = FakeAgent()
    run(policies, tmp_path, RosRunner(again, VERSIONS, SimulatorTruth()))
    assert again.ran == []  # all were finished


def test_silence_is_an_abort_and_three_in_a_row_end_the_run(policies, tmp_path):
    answers = iter(["silence", "success", "success", "abort", "failure", "success"])
    agent = FakeAgent(lambda *_: next(answers))
    found = run(policies, tmp_path, RosRunner(agent, VERSIONS, SimulatorTruth()))
    pooled = found.to_json()["pooled"]
    assert sum(cell["aborts"] for cell in pooled.values()) == 2
    assert sum(cell["left_out"] for cell in pooled.values()) == 0
    dead = FakeAgent(lambda *_: "silence")
    with pytest.raises(ArmFaultError, match=r"not running the task for 3\.1 s"):
        run(policies, tmp_path / "b", RosRunner(dead, VERSIONS, SimulatorTruth()))
    assert len(dead.orders) == 3
    assert dead.active == "v0001-aaaa"


def test_a_cancelled_run_counts_no_trial_and_leaves_the_first_release(policies, tmp_path):
    agent, asked = FakeAgent(lambda *_: "abort"), []
    agent_run = agent.run_task

    def run_task(*words, is_cancelled, **order):
        asked.append(True)
        assert is_cancelled()
        return agent_run(*words, **order)

    agent.run_task = run_task
    keys = RosRunner(agent, VERSIONS, SimulatorTruth(), is_cancelled=lambda: bool(asked))
    with pytest.raises(KeyboardInterrupt):
        run(policies, tmp_path, keys)
    assert (tmp_path / "trials.jsonl").read_text() == ""
    assert agent.active == "v0001-aaaa"


def test_weights_that_nobody_promoted_make_an_abort(policies, tmp_path):
    agent = FakeAgent(lambda *_: "success")
    agent.promote = lambda version: f"{version} acts from the next chunk on"
    found = run(policies, tmp_path, RosRunner(agent, VERSIONS, SimulatorTruth()))
    assert found.rate("old").trials == 2
    assert found.to_json()["pooled"]["new"]["left_out"] == 2
    assert "v0001-aaaa acted, v0002-bbbb was promoted" in found.records[1].reason


def test_a_person_labels_blind_may_undo_and_may_abort(policies, tmp_path):
    shown = []
    answers = iter(
        ["", "x", "y", "u", "n", "", "", "a", "", "", "y", "", "", "y", "", "", "y", ""]
    )

    def ask(question):
        shown.append(question)
        return next(answers)

    keys = OperatorKeys(ask)
    agent = FakeAgent(lambda *_: "failure")
    runner = RosRunner(
        agent, VERSIONS, keys, place="robot", is_recorded=True, prepare=keys.prepare
    )
    found = run(policies, tmp_path, runner)
    words = " ".join(shown)
    assert not any(name in words for name in (*VERSIONS, *VERSIONS.values()))
    assert "trial A" in words
    assert "trial B" in words
    assert sum(r.success for r in found.records) == 3
    pooled = found.to_json()["pooled"]
    assert sum(cell["aborts"] for cell in pooled.values()) == 1
    assert next(answers, "nothing left") == "nothing left"
    assert not agent.orders[0]["is_simulated"]


def test_a_judge_decides_on_the_robot_and_is_only_scored_in_simulation(policies, tmp_path):
    seen = []

    def score(frames, instruction):
        seen.append((frames[:, 0, 0, 0].tolist(), instruction))
        return 0.3

    judge = ClipJudge("j1", 0.2, score)
    images = np.zeros((5, 2, 2, 3), np.uint8) + np.arange(5, dtype=np.uint8)[:, None, None, None]

    def load(episode_id):
        return SimpleNamespace(images=images)

    for place, success in (
        ("robot", JudgeDecision(judge, load)),
        ("ros", SimulatorTruth(judge, load)),
    ):
        runner = RosRunner(
            FakeAgent(), VERSIONS, success, place=place, judge=judge.name, is_recorded=True
        )
        found = run(policies, tmp_path / place, runner)
        assert found.rate("old").successes == (2 if place == "robot" else 0)
        assert {r.judge_score for r in found.records} == {0.3}
    assert seen[0] == ([0, 3, 4], "open the drawer")
    confusion = found.to_json(judge_threshold=judge.threshold)["judge"]["confusion"]
    assert confusion["false_positives"] == 4
    assert "judge" not in found.to_json()


def test_steps_to_success_count_from_when_it_came_to_stay(policies, tmp_path):
    agent = FakeAgent(lambda *_: "success")
    agent.solved = (1, 3, 4)  # solved, lost again, solved for good
    found = run(policies, tmp_path, RosRunner(agent, VERSIONS, SimulatorTruth()))
    assert {record.steps for record in found.records} == {3}
