"""Comparisons: paired seeds, nothing lost or repeated after a kill, honest errors."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from robot_agent.core.errors import ConfigError, InputError, RobotAgentError, SimulationError
from robot_agent.evaluate.comparison import FIRST_SEED, NUM_BLOCKS, compare, seeds_of
from robot_agent.evaluate.outcomes import Comparison
from robot_agent.evaluate.sequential import SequentialTest
from robot_agent.evaluate.suites import BLOCK_SEEDS, Assignment, Suite
from robot_agent.evaluate.trial_journal import TrialRecord
from robot_agent.evaluate.trial_workers import SimRunner
from robot_agent.sim.scenes import HOME, NOVEL
from robot_agent.sim.tasks import TABLE
from tests.evaluate.reaching_policy import load_reaching

ROOT = Path(__file__).resolve().parents[2]
OPEN = "open the drawer"


def suite(trials=2, max_steps=2, scenes=(HOME,), instruction=OPEN):
    assignments = tuple(Assignment(scene, instruction, max_steps) for scene in scenes)
    return Suite(name="test", assignments=assignments, trials=trials)


def run(policies, journal, suite_=None, *, workers=1, **keywords):
    runner = SimRunner(policies, load_reaching, workers=workers)
    return compare(policies, runner, suite_ or suite(), journal=journal, **keywords)


@pytest.fixture
def policies(tmp_path):
    paths = {"far": tmp_path / "far.txt", "near": tmp_path / "near.txt"}
    paths["far"].write_text("0.03")
    paths["near"].write_text("0.01")
    return paths


def record(policy, seed, success, scene="home", instruction=OPEN):
    return TrialRecord(
        policy=policy,
        weights=policy,
        scene=scene,
        scene_parameters=scene,
        instruction=instruction,
        seed=seed,
        max_steps=30,
        outcome="success" if success else "failure",
        steps=3,
    )


def lines(journal):
    return [json.loads(line) for line in journal.read_text("utf-8").splitlines()]


def test_policies_meet_the_same_seeds_in_turn_and_in_two_processes(policies, tmp_path):
    journal, seen = tmp_path / "trials.jsonl", []
    found = run(
        policies, journal, suite(2), workers=2,
        on_trial=lambda done, total, trial: seen.append((done, total)),
    )  # fmt: skip
    seeds = list(seeds_of("home", OPEN, 2))
    assert [(t.policy, t.seed) for t in found.records] == [
        ("far", seeds[0]), ("near", seeds[0]), ("far", seeds[1]), ("near", seeds[1]),
    ]  # fmt: skip
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(lines(journal)) == 4
    assert run(policies, tmp_path / "b.jsonl").records == found.records


def test_finished_trials_are_not_run_again(policies, tmp_path):
    journal, seen = tmp_path / "trials.jsonl", []
    first = run(policies, journal)

    def stop(done, total, trial):
        seen.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(policies, journal, suite(3), on_trial=stop)
    assert seen == [(5, 6)]
    with journal.open("a") as file:
        file.write('{"policy": "far", "seed')  # a line that a crash cut
    found = run(policies, journal, suite(3))
    assert found.records[:4] == first.records
    keys = [(line["policy"], line["seed"]) for line in lines(journal)]
    assert len(keys) == len(set(keys)) == 6


def test_other_weights_or_another_scene_under_the_same_name_are_run_anew(policies, tmp_path):
    journal, one = tmp_path / "trials.jsonl", suite(1, 1)
    run({"far": policies["far"]}, journal, one)
    policies["far"].write_text("0.02")
    run({"far": policies["far"]}, journal, one)
    assert len(lines(journal)) == 2
    found = run({"renamed": policies["far"]}, journal, one)
    assert len(lines(journal)) == 2
    assert found.records[0].policy == "renamed"


def test_a_killed_comparison_goes_on_and_leaves_no_worker(policies, tmp_path):
    journal = tmp_path / "trials.jsonl"
    script = f"""
import sys
from pathlib import Path
import multiprocessing
from tests.evaluate.test_comparison import run, suite
def main():
    def show(done, total, trial):
        print(multiprocessing.active_children()[0].pid, flush=True)
        if done == 3:
            sys.stdin.read()
    policies, journal = {{"far": Path({str(policies["far"])!r})}}, Path({str(journal)!r})
    run(policies, journal, suite(5, 1), on_trial=show)
if __name__ == "__main__":
    main()
"""
    path = tmp_path / "run.py"
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(path)], cwd=ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        worker = [int(process.stdout.readline()) for _ in range(3)][-1]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(lines(journal)) == 3
        assert process.stdout.read() == ""  # ends when the worker, which holds it too, has gone
        assert not Path(f"/proc/{worker}/maps").exists() or not _is_running(worker)
    found = run({"far": policies["far"]}, journal, suite(5, 1))
    assert [t.seed for t in found.records] == list(seeds_of("home", OPEN, 5))
    assert len(lines(journal)) == 5


def _is_running(pid):
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_a_dead_worker_and_a_refused_policy_are_named(policies, tmp_path):
    policies["near"].write_text("0.0 die")
    with pytest.raises(SimulationError, match=r"exit code 7.*run the command again"):
        run(policies, tmp_path / "a.jsonl")
    assert all(line["policy"] == "far" for line in lines(tmp_path / "a.jsonl"))
    policies["near"].write_text("")
    with pytest.raises(RobotAgentError, match=r"policy near, seed \d+: near.txt: size is 0"):
        run(policies, tmp_path / "a.jsonl")


def test_what_cannot_be_compared_is_refused_before_anything_runs(policies, tmp_path):
    journal = tmp_path / "trials.jsonl"
    with pytest.raises(InputError, match="is of no use in cell"):
        suite(instruction="sing")
    with pytest.raises(ConfigError, match="no two scenes of one name"):
        suite(scenes=(HOME, replace(NOVEL["kitchen"], name="home")))
    with pytest.raises(ConfigError, match="at least one assignment"):
        suite(scenes=())
    with pytest.raises(ConfigError, match="comparison of no policies"):
        run({}, journal)
    with pytest.raises(ConfigError, match="nowhere: cannot be read"):
        run({"a": tmp_path / "nowhere"}, journal)
    with pytest.raises(ValueError, match="trials=0 is outside"):
        suite(0)
    with pytest.raises(ConfigError, match=r"2 pairs at most, must be 142.*--trials 142"):
        run(policies, journal, stop_early=SequentialTest())
    with pytest.raises(ConfigError, match="with 1 policies, must be 2"):
        run({"far": policies["far"]}, journal, stop_early=SequentialTest())
    assert not journal.exists()
    journal.write_text('{"policy": 3}\n')
    with pytest.raises(ConfigError, match="line 1 is not a trial"):
        run(policies, journal)
    journal.write_text('{"schema_version": 99}\n')
    with pytest.raises(ConfigError, match="schema_version 99, must be at most 2"):
        run(policies, journal)


def test_a_trial_of_the_first_version_of_the_journal_counts(policies, tmp_path):
    journal, one = tmp_path / "trials.jsonl", suite(1, 1)
    run({"far": policies["far"]}, journal, one)
    (line,) = lines(journal)
    old = {
        "policy", "weights", "scene", "scene_parameters", "instruction", "seed", "max_steps",
        "steps",
    }  # fmt: skip
    written = {key: value for key, value in line.items() if key in old} | {"success": True}
    journal.write_text(json.dumps(written) + "\n")
    (found,) = run({"far": policies["far"]}, journal, one).records
    assert len(lines(journal)) == 1
    assert found.outcome == "success"
    assert found.safety_events is None


def test_no_seed_of_an_evaluation_is_one_of_training():
    recordings = {recording * 1_000_003 for recording in range(50)}
    for scene in ("home", *NOVEL):
        for instruction in (task.instruction for task in TABLE):
            seeds = seeds_of(scene, instruction, BLOCK_SEEDS)
            assert seeds[0] >= FIRST_SEED
            assert seeds[-1] < FIRST_SEED + NUM_BLOCKS * BLOCK_SEEDS < 1_000_003
            assert not recordings & set(seeds)
    starts = [
        seeds_of(s, i, 1)[0]
        for s in ("home", *NOVEL)
        for i in (task.instruction for task in TABLE)
    ]
    assert len(set(starts)) == len(starts)


def test_the_json_has_the_keys_that_others_check():
    records = [record("a", seed, seed < 8) for seed in range(10)]
    records += [record("b", seed, seed < 3) for seed in reversed(range(10))]
    records += [record(p, seed, True, "kitchen") for p in "ab" for seed in range(4)]
    found = Comparison(("a", "b"), tuple(records))
    results = json.loads(json.dumps(found.to_json()))
    home = results["tasks"]["home: open the drawer"]
    assert home["a"] == {
        "successes": 8,
        "trials": 10,
        "interval": pytest.approx([0.490, 0.943], abs=1e-3),
        "aborts": 0,
        "left_out": 0,
        "steps_to_success": {"median": 3, "quartiles": [3, 3]},
        "safety_events": None,
    }
    pair = results["pairs"]["a vs b"]
    assert pair["difference"] == pytest.approx(5 / 14)
    assert pair["interval"][0] < 5 / 14 < pair["interval"][1]
    assert pair["p"] == pytest.approx(2 / 2**5)
    assert pair["tasks"]["kitchen: open the drawer"]["difference"] == 0
    assert results["scenes"]["home"]["b"]["successes"] == 3
    assert found.difference("b", "a", scene="home").difference == pytest.approx(-0.5)
    with pytest.raises(ConfigError, match="'c' was not compared"):
        found.rate("c")
