"""The page of an evaluation: parses, asks nothing of a network, is bounded, hides nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from robot_agent.evaluate import trial_clips
from robot_agent.evaluate.evaluation_page import write_page
from robot_agent.evaluate.outcomes import Comparison, EarlyStop
from robot_agent.evaluate.sequential import SequentialTest
from robot_agent.evaluate.suites import Assignment, Suite
from robot_agent.evaluate.trial_clips import Pictures, run_again, small, worth_showing
from robot_agent.sim.scenes import HOME
from tests.evaluate.reaching_policy import load_reaching
from tests.evaluate.test_comparison import OPEN, record
from tests.evaluate.test_report import read


def comparison():
    records = [record("a", seed, seed < 8) for seed in range(10)]
    records += [
        replace(record("b<", seed, seed < 3), judge_score=0.1 * seed) for seed in range(10)
    ]
    records[-1] = replace(records[-1], outcome="abort", attempt=2, reason="second_publisher")
    records += [record(p, seed, True, "kitchen") for p in ("a", "b<") for seed in range(4)]
    stop = EarlyStop(SequentialTest(), "undecided", 10, 10)
    return Comparison(("a", "b<"), tuple(records), (f"kitchen: {OPEN}",), stop)


def test_the_page_is_one_file_with_every_number(tmp_path, rng):
    results = json.loads(json.dumps(comparison().to_json(groups_of=10, judge_threshold=0.2)))
    clip = rng.integers(0, 255, (3, 8, 8, 3), dtype=np.uint8)
    pictures = Pictures({"home: <start>": clip[:1]}, {"home, a, start 8: failure": clip})
    write_page(tmp_path / "out" / "page.html", results, pictures)
    text = (tmp_path / "out" / "page.html").read_text("utf-8")
    reader = read(text)
    assert all(source.startswith("data:image/gif;base64,") for source in reader.sources)
    assert len(reader.sources) == 2
    words = " ".join(" ".join(reader.words).split())
    for expected in (
        "8 of 10", "3 of 9", "2, 1", "forgetting: all others",
        "Verdict: undecided, after 10 of at most 10",
        "false positives", "Brier score", "home: <start>", "second_publisher", "not counted",
        "+56",
    ):  # fmt: skip
        assert expected in words, expected


def test_failures_are_shown_in_turn_and_bounded(monkeypatch):
    wanted = worth_showing(comparison())
    assert [r.task for r in wanted.starts] == [f"home: {OPEN}", f"kitchen: {OPEN}"]
    assert [(r.policy, r.seed) for r in wanted.failures[:4]] == [
        ("a", 8), ("b<", 3), ("a", 9), ("b<", 4),
    ]  # fmt: skip
    assert len(wanted.failures) == trial_clips.MAX_FAILURES
    frames = small(np.zeros((101, 480, 640, 3), np.uint8))
    assert len(frames) <= trial_clips.MAX_FRAMES
    assert max(frames.shape[1:3]) <= trial_clips.MAX_EDGE_PX


@pytest.mark.parametrize("outcome", ["failure", "abort"])
def test_a_simulated_failure_is_run_again_for_its_clip(tmp_path, outcome):
    (tmp_path / "far.txt").write_text("0.02")
    suite = Suite(name="s", assignments=(Assignment(HOME, OPEN, 30),))
    failed = replace(record("far", 50_000, False), outcome=outcome, max_steps=4)
    pictures = run_again(
        worth_showing(Comparison(("far",), (failed,))), {"far": tmp_path / "far.txt"},
        load_reaching, suite,
    )  # fmt: skip
    ((title, clip),) = pictures.failures.items()
    assert outcome in title
    assert clip.shape == (5, 64, 64, 3)
    (start,) = pictures.starts.values()
    assert np.abs(start[0].astype(int) - clip[0].astype(int)).max() <= 2
    assert np.abs(clip[-1].astype(int) - clip[0].astype(int)).max() > 30
