"""The study of the published experiments from its start to its table, very small."""

import json
import shutil

import pytest

from robot_agent.learn.fit import FitConfig
from robot_agent.learn.imagine import ImagineConfig
from robot_agent.learn.judge_training import JudgeTrainingConfig
from robot_agent.learn.policy_training import PolicyTrainingConfig
from robot_agent.learn.practice import PracticeConfig
from robot_agent.learn.world_training import WorldTrainingConfig
from robot_agent.studies.published import run_published
from robot_agent.studies.published_config import PublishedStudyConfig
from robot_agent.studies.twin_team import TwinTeamConfig
from tests.evaluate.fake_runner import FakeRunner

TWO = FitConfig(steps=2, warmup_steps=1)
WORLD = WorldTrainingConfig(fit=TWO, frames=4, unroll=(2,), stages=(1.0,))


def tiny(*experiments):
    return PublishedStudyConfig(
        experiments=experiments,
        trials=1,
        max_steps=5,
        workers=1,
        frames=1,
        check_frames=1,
        distractor_scenes=1,
        more_tasks=1,
        test_time_episodes=1,
        rounds=2,
        round_episodes=1,
        demonstrations=2,
        team=TwinTeamConfig(
            play=4, steps=10, world=WORLD, judge=JudgeTrainingConfig(fit=TWO, batch=4)
        ),
        practice=PracticeConfig(
            iterations=2,
            starts=2,
            group=2,
            min_groups=1,
            max_groups=2,
            save_every=1,
            imagine=ImagineConfig(chunks=1),
        ),
        sft=PolicyTrainingConfig(fit=TWO, batch=4),
        finetune=WORLD,
    )


def coin(policies, workers):
    """Return a runner without a robot: what comes of a trial hangs on its start and policy."""
    return FakeRunner(lambda job, _: "success" if (job.seed + len(job.policy)) % 2 else "failure")


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    """Return a folder in which the team of the study is ready."""
    out = tmp_path_factory.mktemp("study")
    results = run_published(out, tiny("1"), lambda done, words: None, coin)
    return out, results


@pytest.mark.slow
def test_the_first_experiment_compares_four_ways_to_train_on_four_tasks(team):
    out, results = team
    found = json.loads(json.dumps(results))["experiments"]["1"]
    assert list(found["arms"]) == [
        "SFT", "Iter-SFT", "RL in the trainer's simulator", "RL in the world model",
    ]  # fmt: skip
    for arm in found["arms"].values():
        assert arm["all"]["trials"] == 4
        assert len(arm["tasks"]) == 4
    imagined = next(r for r in found["records"] if r["arm"] == "RL in the world model")
    assert len(imagined["curve"]) == 2
    assert set(imagined["after"]) == {"predicted", "held_out"}
    assert (out / "seed-0" / "Iter_SFT" / "arm.json").exists()
    assert [run["arm"] for run in results["ledger"]["runs"]] == ["RL in the world model"]


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_and_makes_nothing_twice(team):
    out, results = team
    weights = sorted(out.rglob("*.safetensors"))
    stamps = {path: path.stat().st_mtime_ns for path in weights}
    shutil.rmtree(out / "seed-0" / "Iter_SFT")
    told = []
    again = run_published(out, tiny("1"), lambda done, words: told.append(words), coin)
    assert any("Iter_SFT" in words for words in told)
    assert not any("RL_in" in words for words in told), "finished arms are not trained again"
    for path, stamp in stamps.items():
        if "Iter_SFT" not in path.parts:
            assert path.stat().st_mtime_ns == stamp, path
    assert again["experiments"]["1"]["arms"] == results["experiments"]["1"]["arms"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tables", "arms"),
    [
        ("2", ["2"], 5),
        ("3", ["3, open", "3, close", "3, to_basket", "3, to_sink"], 3),
        ("4", ["4"], 3),
        ("oracles", ["oracles"], 4),
    ],
)
def test_every_other_experiment_runs_to_its_table(team, name, tables, arms):
    out, _ = team
    found = run_published(out, tiny(name), lambda done, words: None, coin)["experiments"]
    assert list(found) == tables
    for table in found.values():
        assert len(table["arms"]) == arms
        assert ("others" in table["arms"]["SFT"]) == (name == "3")
