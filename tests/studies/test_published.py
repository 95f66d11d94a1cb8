"""The published experiments: parts made once, paired arms, tables with the paper's numbers."""

import json

import numpy as np
import pytest

from robot_agent.commands.study import published_tables
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.studies.published_config import EXPERIMENTS, PublishedStudyConfig
from robot_agent.studies.published_tables import PAPER, Found, groups_of, ledger_of
from robot_agent.studies.resumable import once, require_same
from robot_agent.studies.simulated import SimulatedWorld, TrueState
from robot_agent.studies.twin import REAL, free_starts, places, spots

OPEN = "open the drawer"


def trials(successes, num=20, scene="drawer@real", seed=0):
    return {(seed, scene, OPEN, start): start < successes for start in range(num)}


def test_each_arm_is_paired_with_sft_on_the_same_starts():
    found = Found([])
    records = [{"arm": "SFT", "seconds": 0.0}, {"arm": "Iter-SFT", "seconds": 90.0}]
    found.add({"SFT": trials(4), "Iter-SFT": trials(14)}, records)
    results = json.loads(json.dumps(found.summary("1", 10)))
    assert results["arms"]["Iter-SFT"]["all"]["successes"] == 14
    pair = results["less SFT"]["Iter-SFT"]["all"]
    assert pair["points"] == pytest.approx(50.0)
    assert pair["interval"][0] < 50.0 < pair["interval"][1]
    assert "SFT" not in results["less SFT"]


def test_forgetting_is_in_no_number_of_the_task_that_was_trained():
    found = Found([f"sink@real: {OPEN}"])
    both = {**trials(15), **trials(1, scene="sink@real")}
    found.add({"SFT": both, "one frame": both}, [])
    results = found.summary("3, open", 10)["arms"]["one frame"]
    assert (results["all"]["successes"], results["all"]["trials"]) == (15, 20)
    assert (results["others"]["successes"], results["others"]["trials"]) == (1, 20)


def test_groups_are_whole_and_their_error_is_over_groups():
    outcomes = trials(15, num=25)
    found = groups_of(outcomes, list(outcomes), 10)
    assert found["groups"] == 2
    assert found["mean"] == pytest.approx(0.75)
    assert found["standard_error"] == pytest.approx(np.std([1.0, 0.5], ddof=1) / np.sqrt(2))
    assert groups_of(outcomes, list(outcomes)[:9], 10)["mean"] is None


def test_the_table_holds_the_papers_number_beside_ours_and_the_minutes():
    found = Found([])
    found.add(
        {"SFT": trials(4), "RL in the world model": trials(14)},
        [{"arm": "RL in the world model", "seconds": 90.0}],
    )
    tables = {"1": found.summary("1", 10)}
    shown, source, *_ = published_tables({"experiments": tables, "ledger": ledger_of(tables)})
    columns = {
        column.header.plain: [cell.plain for cell in column.cells] for column in shown.columns
    }
    row = columns["arm"].index("RL in the world model")
    assert columns["paper [%]"][row] == "58 +- 4"
    assert columns["minutes"][row] == "1.5"
    assert columns["successes"][row] == "14/20"
    assert "2602.02454" in source


def test_every_experiment_with_a_number_in_the_paper_shows_it():
    assert {name.partition(",")[0] for name in PAPER} <= set(EXPERIMENTS)
    assert set(PAPER["1"]) == {"SFT", "Iter-SFT", "RL in the trainer's simulator"} | {
        "RL in the world model"
    }


def test_a_study_names_the_experiments_and_scenes_there_are():
    with pytest.raises(ConfigError, match="experiments 5: choose from: 1, 2, 3, 4, oracles"):
        PublishedStudyConfig(experiments=("1", "5"))
    with pytest.raises(ConfigError, match=r"novel\.open: cafe_sink is a sink, must be a drawer"):
        PublishedStudyConfig(novel={**PublishedStudyConfig().novel, "open": "cafe_sink"})
    with pytest.raises(ConfigError, match="must be a scene for each of: open, close"):
        PublishedStudyConfig(novel={"open": "bright_loft"})


def promised(rate):
    return {"predicted": {OPEN: [rate, 8]}, "held_out": {OPEN: [rate / 2, 8]}}


def test_the_ledger_holds_each_gain_against_the_arm_that_it_began_with():
    found = Found([])
    records = [
        {"arm": "round 1", "base": "SFT", "seed": 0, "before": promised(0), "after": promised(1)},
        {
            "arm": "round 2",
            "base": "round 1",
            "seed": 0,
            "before": promised(0.5),
            "after": promised(0.75),
        },
    ]
    found.add({"SFT": trials(4), "round 1": trials(14), "round 2": trials(13)}, records)
    first, second = ledger_of({"4": found.summary("4", 10)})["runs"]
    assert (first["predicted"], first["held_out"]) == (1.0, 0.5)
    assert first["measured"] == pytest.approx(10 / 20)
    assert second["predicted"] == pytest.approx(0.25)
    assert second["measured"] == pytest.approx(-1 / 20)


def test_a_study_does_not_go_on_under_another_order(tmp_path):
    require_same(tmp_path / "study.json", {"frames": 3, "practice": {"group": 8}})
    require_same(tmp_path / "study.json", {"frames": 3, "practice": {"group": 8}})
    with pytest.raises(ConfigError, match="frames differ from those of the study there"):
        require_same(tmp_path / "study.json", {"frames": 4, "practice": {"group": 8}})


def test_a_part_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"value": len(made)}

    done = tmp_path / "arm" / "arm.json"
    assert once(done, make) == once(done, make) == {"value": 1}


def test_a_part_that_was_killed_is_made_again(tmp_path):
    def killed():
        raise KeyboardInterrupt

    done = tmp_path / "arm.json"
    with pytest.raises(KeyboardInterrupt):
        once(done, killed)
    assert once(done, lambda: {"value": 2}) == {"value": 2}


@pytest.fixture(scope="module")
def starts():
    drawer = [place for place in places(REAL) if place.task.cell == "drawer"]
    return spots(drawer, [7])


def test_a_task_starts_as_the_twin_has_it_and_a_new_instruction_on_any_frame(starts):
    assert [start.instruction_id for start in starts] == [0, 1]
    closed, opened = (start.observation.image_hwc for start in starts)
    assert not np.array_equal(closed, opened), "both tasks start alike"
    first, second = free_starts([p for p in places(REAL) if p.task.cell == "drawer"], [7])
    assert [first.instruction_id, second.instruction_id] == [0, 1]
    assert np.array_equal(first.observation.image_hwc, second.observation.image_hwc)


def test_a_simulator_stands_in_for_the_world_model_and_its_state_for_the_judge(starts):
    with SimulatedWorld(3, processes=1) as world:
        first = world.reset([start.observation for start in starts])
        assert np.array_equal(first[0], starts[0].observation.image_hwc), "another picture"
        judge, ids = TrueState(world), np.array([0, 1])
        down = np.tile([0.0, 0.0, -0.01, 0.0, 0.0, 0.0, 1.0], (2, 1))
        frames = world.step(down)
        assert not np.array_equal(frames, first), "the arm stands still"
        success, progress = judge.assess(first, frames, ids)
        assert success.tolist() == [0.0, 0.0]
        assert progress[0] < 0.1 < progress[1] < 0.6, "one is nearly closed, one far open"
        world.keep([1])
        frames = world.step(down[:1])
        assert judge.assess(first[1:], frames, ids[1:])[1].shape == (1,)
        with pytest.raises(InputError, match="no step is left to tell of"):
            judge.assess(first[1:], frames, ids[1:])
        frames = world.step(down[:1])
        with pytest.raises(InputError, match=r"tasks \[0\] were asked of resets for \[1\]"):
            judge.assess(first[1:], frames, ids[:1])


def test_a_start_without_a_state_is_no_start_for_a_simulator(starts):
    from robot_agent.core.types import Observation

    seen = starts[0].observation
    plain = Observation(
        image_hwc=seen.image_hwc, joints_rad=seen.joints_rad, gripper=1.0, stamp_ns=0
    )
    with SimulatedWorld(1, processes=1) as world:
        with pytest.raises(InputError, match="must be a Spot"):
            world.reset([plain])
        with pytest.raises(InputError, match="2 rollouts in 1 simulators: must be from 1 to 1"):
            world.reset([seen, seen])
