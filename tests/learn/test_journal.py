"""The run folder: every file appears whole, and what was finished stays finished."""

import dataclasses

import numpy as np
import pytest

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.learn.journal import RoundRecord, RunFolder
from robot_agent.models.tiny_judge import TinyJudge
from robot_agent.models.tiny_team import load_into
from tests.store.crash_points import count_points, run_to_point


def record(index):
    return RoundRecord(index=index, version_before="v1", episodes=["a", "b"], curve=[{"x": 0.5}])


def test_rounds_return_as_they_were_saved(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.save_round(record(0))
    run.save_round(record(1))
    assert RunFolder(tmp_path / "run").load_rounds() == [record(0), record(1)]


def test_a_round_after_a_gap_is_not_counted(tmp_path):
    run = RunFolder(tmp_path)
    run.save_round(record(0))
    run.save_round(record(2))
    assert [r.index for r in run.load_rounds()] == [0]


def test_a_version_that_the_robot_refused_is_struck_out(tmp_path):
    run = RunFolder(tmp_path)
    kept = [record(0), dataclasses.replace(record(1), version_after="v2")]
    run.strike_out(kept, "v2")
    assert run.load_rounds() == []
    run.save_round(kept[0])
    run.strike_out(kept, "v1")
    assert kept[-1].version_after == run.load_rounds()[-1].version_after == ""
    assert run.load_rounds()[-1].not_acting == "v2"


def test_killed_at_any_point_of_saving_the_run_still_loads(tmp_path):
    def saves(folder):
        run = RunFolder(folder)

        def action(acknowledge):
            run.save_round(record(1))
            acknowledge("saved")

        return run, action

    _, counted = saves(tmp_path / "count")
    points = count_points(counted)
    assert points >= 6
    lengths = set()
    for point in range(1, points + 1):
        run, action = saves(tmp_path / str(point))
        run.save_round(record(0))
        outcome = run_to_point(action, point)
        assert outcome.killed
        found = run.load_rounds()
        assert found == [record(0), record(1)][: len(found)]
        assert len(found) == 2 or not outcome.acknowledged
        lengths.add(len(found))
    assert lengths == {1, 2}, "killed before the name appeared, and after"


def test_saving_a_round_again_replaces_it_whole(tmp_path):
    run = RunFolder(tmp_path)
    run.save_round(record(0))
    later = dataclasses.replace(record(0), final_episodes=["z"])
    run.save_round(later)
    assert run.load_rounds() == [later]


def test_a_damaged_record_says_which_and_what_to_do(tmp_path):
    run = RunFolder(tmp_path)
    (tmp_path / "round_0.json").write_text('{"index": 0, "unknown": 1}')
    with pytest.raises(EpisodeFormatError, match=r"round_0\.json: is no record .* Move it away"):
        run.load_rounds()


def test_worlds_are_kept_so_that_they_load_again(tmp_path):
    from safetensors.torch import load

    network, other = TinyJudge(), TinyJudge()
    RunFolder(tmp_path).save_worlds([network], 3)
    load_into(other, load((tmp_path / "world_3_0.safetensors").read_bytes()), "world")
    assert all(
        (a == b).all() for a, b in zip(network.parameters(), other.parameters(), strict=True)
    )


def test_no_frames_make_no_picture(tmp_path):
    RunFolder(tmp_path).save_clip(np.zeros((0, 64, 64, 3), np.uint8), "imagined_0")
    assert list(tmp_path.iterdir()) == []


def test_a_round_that_was_cut_short_is_found_again_while_its_weights_act(tmp_path):
    folder = RunFolder(tmp_path)
    folder.save_open(RoundRecord(index=1, version_before="v1", episodes=["a", "b"]))
    assert folder.load_open(1, "v1").episodes == ["a", "b"]
    assert folder.load_open(1, "v2") is None, "its own swap was the last thing it did"
    assert folder.load_open(0, "v1") is None
    assert RunFolder(tmp_path / "other").load_open(0, "v1") is None
