"""Recordings of the cells: what they hold, their file, and enough near misses in play."""

import numpy as np
import pytest

from robot_agent.core.errors import InputError
from robot_agent.learn.data import load_recording
from robot_agent.sim.collect import Plan, collect
from robot_agent.sim.recordings import contact_sheet, open_recording, save_recording, summarise
from robot_agent.sim.scenes import CELL_SCENES, broad_cell_scene
from robot_agent.sim.world import SimWorld


@pytest.fixture(scope="module")
def recording():
    plan = Plan(kind="demonstration", cell="sink", task="to_basket", num=2, seed=4, steps=60)
    return collect(plan, workers=1)


@pytest.fixture
def blind(monkeypatch):
    """Skip rendering, which takes most of the time and does not matter here."""
    black = np.zeros((64, 64, 3), np.uint8)
    monkeypatch.setattr(SimWorld, "render_model_view", lambda _: black)


def test_a_demonstration_at_the_sink_shows_the_eggplant_on_its_way(recording):
    assert recording.objects.shape == (2, 61, 3)
    assert recording.successes.shape == (2, 61, 2)
    assert recording.misses.shape == (2, 60)
    for row in range(2):
        end = recording.valid[row]
        assert recording.objects[row, end, 1] > recording.objects[row, 0, 1] + 0.1, "to the left"
        assert recording.objects[row, :end, 2].max() > 0.15, "over the walls"
        assert recording.successes[row, end, 0]
        assert recording.successes[row, 0].tolist() == [0, 1], "starts in the sink"
    assert np.ptp(recording.labels[..., 6]) == 1.0, "the gripper never moved"
    assert (recording.openings == 0.0).all()
    assert (recording.misses == 0).all()


def test_a_recording_comes_back_from_its_file_and_its_readers_still_read_it(recording, tmp_path):
    path = tmp_path / "sink.safetensors"
    save_recording(path, recording)
    again = open_recording(path)
    assert (again.cell, again.kind) == ("sink", "demonstration")
    for name, values in vars(recording).items():
        assert np.array_equal(values, getattr(again, name)), name
    episodes = load_recording(path, use_valid=True)
    assert episodes.lengths_N.tolist() == recording.valid.tolist()


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="is no recording of this version"):
        open_recording(path)


def test_a_summary_counts_what_is_there(recording):
    found = summarise(recording)
    assert (found["cell"], found["episodes"]) == ("sink", 2)
    assert found["steps"] == recording.valid.sum()
    assert found["near_miss_share"] == 0.0
    assert 0.02 < found["speed_mean_mps"] < found["speed_p95_mps"] < 0.3
    task = found["tasks"]["to_basket"]
    assert (task["episodes"], task["solved_at_end"]) == (2, 2)
    assert found["tasks"]["to_sink"]["episodes"] == 0
    assert contact_sheet(recording, rows=2, columns=5).shape == (128, 320, 3)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["drawer", "sink"])
def test_play_holds_near_misses_and_goes_on_after_success(cell, blind):
    found = collect(Plan(kind="play", cell=cell, num=24, seed=6, steps=60), workers=1)
    summary = summarise(found)
    assert summary["near_miss_share"] >= 0.3
    assert (found.valid == 60).all(), "nothing ends play"
    solved = found.successes.any(axis=2)
    assert sum(row.any() and row.argmax() < 40 for row in solved) >= 4, "too little success"
    still = np.abs(np.diff(found.openings, axis=1)) < 1e-3
    still &= np.linalg.norm(np.diff(found.objects, axis=1), axis=2) < 1e-3
    assert still[found.misses > 0].mean() > 0.3, "near misses hit"


def turned_sink(rng):
    return broad_cell_scene("sink", rng)


def test_the_scene_of_each_episode_can_be_drawn_by_a_function(blind):
    plans = [
        Plan(kind="demonstration", cell="sink", num=2, seed=5, steps=2, draw_scene=draw)
        for draw in (None, turned_sink)
    ]
    home, drawn = (collect(plan, workers=1) for plan in plans)
    assert not np.array_equal(home.objects, drawn.objects)


def test_broad_scenes_of_a_cell_keep_its_fixture_in_reach():
    for seed in range(50):
        scene = broad_cell_scene("sink", np.random.default_rng(seed))
        assert scene.cell == "sink"
        assert abs(scene.sink_y_m - CELL_SCENES["sink"].sink_y_m) <= 0.012
        red, green, blue = scene.basin
        assert blue > max(red, green), "the blue sink is not blue"
        assert min(scene.basket[:2]) > scene.basket[2], "the yellow basket is not yellow"
