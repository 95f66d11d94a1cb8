"""What a comparison reports: aborts, early stops, blind order, steps, safety, groups."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robot_agent.core.errors import InputError
from robot_agent.evaluate.comparison import compare
from robot_agent.evaluate.judging import judge_report
from robot_agent.evaluate.outcomes import Comparison, group_rates, summary
from robot_agent.evaluate.sequential import SequentialTest
from robot_agent.evaluate.suites import Assignment, Suite, suite_named
from robot_agent.sim.scenes import HOME, NOVEL
from tests.evaluate.fake_runner import FakeRunner
from tests.evaluate.test_comparison import OPEN, lines, record

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def policies(tmp_path):
    paths = {name: tmp_path / name for name in ("old", "new")}
    for name, path in paths.items():
        path.write_text(name)
    return paths


def suite(trials, others=()):
    assignments = (Assignment(HOME, OPEN, 30), Assignment(HOME, "close the drawer", 30))
    return Suite(name="test", assignments=assignments, others=others, trials=trials)


def test_an_abort_is_repeated_and_is_no_failure(policies, tmp_path):
    def outcome_of(job, attempt):
        if job.policy == "old" and job.instruction == OPEN:
            return "abort" if attempt == 0 else "success"
        return "failure"

    runner = FakeRunner(outcome_of)
    journal = tmp_path / "trials.jsonl"
    found = compare(policies, runner, suite(3), journal=journal)
    task = found.to_json()["tasks"][f"home: {OPEN}"]
    assert (task["old"]["successes"], task["old"]["trials"]) == (3, 3)
    assert (task["old"]["aborts"], task["old"]["left_out"]) == (3, 0)
    assert len(lines(journal)) == len(runner.ran) == 15
    again = FakeRunner(outcome_of)
    assert compare(policies, again, suite(3), journal=journal).records == found.records
    assert again.ran == []


def test_a_trial_that_stays_aborted_leaves_its_pair(policies, tmp_path):
    def outcome_of(job, attempt):
        if job.policy == "new" and job.seed % 2:
            return "abort"
        return "success" if job.policy == "new" else "failure"

    journal = tmp_path / "trials.jsonl"
    found = compare(policies, FakeRunner(outcome_of), suite(4), journal=journal)
    pooled = found.to_json()["pooled"]
    assert (pooled["new"]["successes"], pooled["new"]["trials"]) == (4, 4)
    assert (pooled["new"]["aborts"], pooled["new"]["left_out"]) == (8, 4)
    assert pooled["old"]["trials"] == 8
    pair = found.to_json()["pairs"]["old vs new"]
    assert (pair["trials"], pair["difference"]) == (4, -1.0)
    assert {line["reason"] for line in lines(journal) if line["outcome"] == "abort"} == {"cable"}


def test_a_comparison_that_knows_enough_stops_and_goes_on_to_the_same_end(policies, tmp_path):
    test = SequentialTest(min_effect=0.5)
    journal = tmp_path / "trials.jsonl"
    runner = FakeRunner(lambda job, _: "success" if job.policy == "new" else "failure")
    found = compare(policies, runner, suite(40), journal=journal, stop_early=test)
    stop = found.to_json()["early_stop"]
    assert stop["verdict"] == "new is better"
    assert stop["pairs"] < test.needed_pairs() <= stop["max_pairs"] == 80
    assert len(found.records) == 2 * stop["pairs"] == len(runner.ran)
    more = compare(policies, runner, suite(40), journal=journal)  # the rest, then as before
    assert len(more.records) == 160
    again = compare(policies, FakeRunner(None), suite(40), journal=journal, stop_early=test)
    assert again == found


def test_what_shows_forgetting_is_in_no_pooled_number_and_in_no_early_stop(policies, tmp_path):
    others = (Assignment(NOVEL["kitchen"], OPEN, 30),)

    def outcome_of(job, _):
        is_other = job.scene.name == "kitchen"
        return "success" if (job.policy == "new") != is_other else "failure"

    test = SequentialTest(min_effect=0.5)
    found = compare(
        policies, FakeRunner(outcome_of), suite(20, others), journal=tmp_path / "t.jsonl",
        stop_early=test,
    )  # fmt: skip
    pair = found.to_json()["pairs"]["old vs new"]
    assert (pair["difference"], pair["forgetting"]["difference"]) == (-1.0, 1.0)
    assert found.early_stop.verdict == "second"
    assert found.to_json()["pooled"]["old"]["trials"] == found.early_stop.pairs


def test_the_order_on_a_start_is_shuffled_and_tells_nothing(policies, tmp_path):
    seen = []

    def outcome_of(job, _):
        seen.append((job.seed, job.policy, job.letter))
        return "failure"

    compare(policies, FakeRunner(outcome_of), suite(40), journal=tmp_path / "t.jsonl")
    assert [letter for _, _, letter in seen] == ["A", "B"] * 80
    assert all(a[0] == b[0] for a, b in zip(seen[::2], seen[1::2], strict=True))
    old_first = sum(policy == "old" for _, policy, _ in seen[::2])
    assert 25 < old_first < 55


_KILLED = """
import os, sys
from pathlib import Path
from robot_agent.evaluate.comparison import compare
from tests.evaluate.fake_runner import FakeRunner
from robot_agent.evaluate.suites import suite_named

def outcome_of(job, attempt):
    print(job.index, attempt, flush=True)
    sys.stdin.readline()
    return "abort" if job.policy == "old" else "success"

folder = Path(sys.argv[1])
policies = {name: folder / name for name in ("old", "new")}
suite = suite_named("home", instructions=["open the drawer"], trials=2)
compare(policies, FakeRunner(outcome_of), suite, journal=folder / "t.jsonl")
"""


def test_a_kill_between_an_abort_and_its_repetition_loses_and_repeats_nothing(policies, tmp_path):
    script = tmp_path / "run.py"
    script.write_text(_KILLED)
    started = []
    for _ in range(8):  # killed in the second attempt or trial of each run
        with subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)], cwd=ROOT, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            if not (first := process.stdout.readline()):
                break
            started.append(first)
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdout.readline()  # the next attempt is under way, or all is done
            process.send_signal(signal.SIGKILL)
    written = lines(tmp_path / "t.jsonl")
    keys = [(line["policy"], line["instruction"], line["seed"], line["attempt"])
            for line in written]  # fmt: skip
    assert len(keys) == len(set(keys)) == len(started) == 6
    attempts = {"old": [1, 2, 1, 2], "new": [1, 1]}  # a kill grants no further attempt
    for policy, expected in attempts.items():
        assert [line["attempt"] for line in written if line["policy"] == policy] == expected


def test_steps_and_safety_are_of_those_that_count():
    records = [record("a", seed, seed < 4) for seed in range(6)]
    records = [
        type(r)(**{**vars(r), "steps": 10 + 2 * i, "safety_events": i})
        for i, r in enumerate(records)
    ]
    found = summary(records)
    assert found["steps_to_success"] == {"median": 13, "quartiles": [11.5, 14.5]}
    assert found["safety_events"] == {"total": 15, "trials": 6}
    assert summary(records[4:])["steps_to_success"] is None


def test_groups_of_ten_have_the_error_of_their_mean():
    rates = [0.4, 0.6, 0.5]
    records = [record("a", 10 * g + k, k < 10 * rate) for g, rate in enumerate(rates)
               for k in range(10)] + [record("a", 99, True)]  # fmt: skip
    found = group_rates(records, 10)
    assert found["rates"] == rates
    assert found["mean"] == pytest.approx(0.5)
    assert found["standard_error"] == pytest.approx(0.1 / np.sqrt(3))
    assert group_rates(records[:9], 10)["mean"] is None
    groups = Comparison(("a",), tuple(records)).to_json(groups_of=10)["groups"]
    assert groups[f"home: {OPEN}"]["a"] == found


def test_the_judge_is_held_against_the_truth():
    found = judge_report([0.9, 0.8, 0.7, 0.1, 0.3, 0.05], [True, True, False, False, True, False],
                         0.5)  # fmt: skip
    plain = found.to_json()
    assert plain["confusion"] == {
        "true_positives": 2, "false_positives": 1, "true_negatives": 2, "false_negatives": 1,
    }  # fmt: skip
    assert plain["accuracy"]["hits"] / plain["accuracy"]["of"] == pytest.approx(4 / 6)
    assert plain["brier"] == pytest.approx((0.01 + 0.04 + 0.49 + 0.01 + 0.49 + 0.0025) / 6)
    errors = [0.1, 0.2, 0.7, 0.1, 0.7, 0.05]  # every episode in a bin of its own
    assert plain["calibration_error"] == pytest.approx(sum(errors) / 6)
    assert [b["trials"] for b in plain["bins"]] == [1] * 6
    with pytest.raises(InputError, match="1 scores for 2 truths"):
        judge_report([0.5], [True, False], 0.5)
    with pytest.raises(InputError, match="each in"):
        judge_report([float("nan")], [True], 0.5)


def test_a_calibrated_judge_has_a_small_calibration_error(rng):
    scores = rng.random(20_000)
    truths = rng.random(20_000) < scores
    assert judge_report(scores, truths, 0.5).calibration_error < 0.02
    assert judge_report(scores**3, truths, 0.5).calibration_error > 0.1


def test_suites_have_names():
    table = suite_named("table", trials=3)
    assert len(table.assignments) == 8
    assert suite_named("kitchen", others="table").others == tuple(
        cell for cell in table.assignments if cell.scene.name != "kitchen"
    )
    only = suite_named("home,study", instructions=["Open the  drawer"], max_steps=9)
    assert [cell.name for cell in only.assignments] == [f"home: {OPEN}", f"study: {OPEN}"]
    assert only.assignments[0].max_steps == 9
    with pytest.raises(InputError, match="'attic' is unknown"):
        suite_named("attic")
