"""The trust report refuses every planted bad model and none of the shipped ones."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from robot_agent.cli import main
from robot_agent.compose import load_team
from robot_agent.core.errors import InputError
from robot_agent.learn.axis_sweep import AXES
from robot_agent.learn.data import Episodes, subset
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.imagine import ImagineConfig
from robot_agent.learn.real_windows import (
    RealWindows,
    cut_windows,
    joints_of,
    of_recording,
    of_training,
)
from robot_agent.learn.scene_world import SceneWorldConfig, finetune_members
from robot_agent.learn.trust import TrustConfig, _used, trust_report, worst_of
from robot_agent.learn.trust_verdict import TrustLimits
from robot_agent.learn.world_training import WorldTrainingConfig
from robot_agent.models.precision import has_fast_bfloat16, mixed_precision
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.sim.collect import Plan, collect
from robot_agent.sim.recordings import save_recording
from robot_agent.sim.scenes import HOME, NOVEL
from tests.learn.planted_worlds import PLANTED, PlantedWorld

FEW = TrustConfig(horizon=10, windows=8, sweep_starts=2)


def kitchen(_rng):
    return NOVEL["kitchen"]


def home(_rng):
    return HOME


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Four play episodes at home and in a new scene."""
    folder, found = tmp_path_factory.mktemp("play"), {}
    for name, scene in (("home", home), ("kitchen", kitchen)):
        found[name] = folder / f"{name}.safetensors"
        plan = Plan(kind="play", num=4, seed=97, steps=20, draw_scene=scene)
        save_recording(found[name], collect(plan, workers=1))
    return found


@pytest.fixture(scope="module")
def shipped():
    torch.set_num_threads(1)
    return [TinyImagination(world) for world in load_team().worlds]


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["home", "kitchen"])
@pytest.mark.parametrize("member", [0, 1])
def test_a_shipped_model_is_not_refused(scene, member, recordings, shipped):
    report = trust_report(shipped[member], of_recording(recordings[scene], 4), FEW, seed=3)
    assert report.verdict == "train", report.reasons
    assert report.safe_horizon == 10
    for axis in ("dx", "dy", "dz"):
        assert 0.5 < report.axes[axis]["gain"] < 1.3
        assert report.edits[f"mirror {axis}"]["worse_db"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_bad_model_is_refused_every_time(planted, seed, recordings, shipped):
    world = PlantedWorld(shipped[seed % 2], **PLANTED[planted])
    scene = ("home", "kitchen")[seed % 2]
    report = trust_report(world, of_recording(recordings[scene], 4), FEW, seed=seed)
    assert report.verdict == "refuse"
    assert report.safe_horizon == 0
    assert report.reasons


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("dy reversed", "dy: moves the wrong way"),
        ("gripper reversed", "gripper: moves the wrong way"),
        ("actions ignored", "ignored actions"),
        ("actions late by one", "shifted actions"),
        ("frozen picture", "commands change no picture"),
        ("blurred", "blurred: "),
        ("slow", "dx: gain 0.3"),
    ],
)
def test_the_reason_names_what_is_wrong(planted, said, recordings, shipped):
    world = PlantedWorld(shipped[0], **PLANTED[planted])
    report = trust_report(world, of_recording(recordings["home"], 4), FEW, seed=0)
    assert any(said in reason for reason in report.reasons), report.reasons


@pytest.mark.slow
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_reversed_axis_shows_in_pictures_alone(axis, recordings, shipped):
    name = f"{AXES[axis]} reversed"

    class PicturesOnly:
        """As a diffusion model: no state to read."""

        def __init__(self, inner):
            self.reset, self.step = inner.reset, inner.step

    sound = trust_report(
        PicturesOnly(shipped[0]), of_recording(recordings["home"], 4), FEW, seed=0
    )
    assert sound.verdict == "train", sound.reasons
    assert sound.axes[AXES[axis]]["gain"] is None
    bad = PicturesOnly(PlantedWorld(shipped[0], **PLANTED[name]))
    report = trust_report(bad, of_recording(recordings["home"], 4), FEW, seed=0)
    assert report.verdict == "refuse"
    assert any(reason.startswith(AXES[axis]) for reason in report.reasons)


@pytest.mark.slow
def test_finetuned_members_are_trusted_and_practice_ends_at_their_horizon(recordings):
    team, scene = load_team(), of_play(recordings["kitchen"])
    config = SceneWorldConfig(
        training=WorldTrainingConfig(
            fit=FitConfig(steps=12, learning_rate=3e-4, warmup_steps=2),
            frames=20,
            unroll=(5,),
            stages=(1.0,),
        ),
        held_out=2,
        trust=TrustConfig(windows=8, sweep_starts=2),
    )
    _, trust = finetune_members(
        team.worlds[:1], scene, subset(scene, [0]), config, 0, report=lambda *_: None
    )
    assert trust.verdict == "shorten", trust.reason
    assert trust.numbers["safe_horizon"] == 20
    capped = ImagineConfig(safe_horizon=trust.numbers["safe_horizon"])
    assert capped.num_chunks == 4
    json.dumps(trust.numbers, allow_nan=False)


def of_play(path) -> Episodes:
    from robot_agent.learn.data import load_recording

    return load_recording(path, use_valid=False)


@pytest.mark.slow
def test_a_team_is_worth_its_worst_member(recordings, shipped):
    episodes = of_recording(recordings["home"], 4)
    few = TrustConfig(horizon=6, windows=4, sweep_starts=1)
    good = trust_report(shipped[0], episodes, few, seed=0)
    frozen = PlantedWorld(shipped[0], **PLANTED["frozen picture"])
    bad = trust_report(frozen, episodes, few, seed=0)
    found = worst_of([good, bad])
    assert found["verdict"] == "refuse"
    assert found["safe_horizon"] == 0
    assert all(reason.startswith("member 1: ") for reason in found["reasons"])


def test_states_become_joints_that_reach_them(recordings):
    episodes = of_recording(recordings["home"], 1)
    recorded = of_training(subset(of_play(recordings["home"]), [0]))[0]
    wanted = episodes[0].states
    assert np.abs(recorded.states - wanted).max() < 1e-9
    again = joints_of(wanted)
    assert again.shape == (21, 6)


@pytest.mark.parametrize(("turning", "is_used"), [(1, False), (2, True)])
def test_an_axis_is_used_when_half_of_the_episodes_use_it(turning, is_used):
    actions = np.zeros((8, 5, 7))
    actions[: 2 * turning, :, 5] = 0.2
    windows = RealWindows([], np.zeros(0), actions, np.zeros(0), np.repeat(np.arange(4), 2))
    assert (_used(windows)[5] >= TrustLimits().used_rad) == is_used


def test_episodes_shorter_than_a_window_are_refused_with_their_length(recordings):
    episodes = of_recording(recordings["home"], 2)
    with pytest.raises(InputError, match="the longest of 2 episodes has 20, must have at least"):
        cut_windows(episodes, 21, 4, np.random.default_rng(0))


def test_precision_is_only_halved_where_the_processor_computes_in_it():
    x = torch.rand(4, 4)
    with mixed_precision():
        product = x @ x
    assert (product.dtype is torch.bfloat16) == has_fast_bfloat16()


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.images = 0

    def handle_starttag(self, tag, attrs):
        self.images += tag == "img" and dict(attrs)["src"].startswith("data:image/gif")


@pytest.mark.slow
def test_the_command_prints_its_keys_and_writes_page_and_json(recordings, tmp_path, capsys):
    out = tmp_path / "report"
    words = ["--data", str(recordings["home"]), "--episodes", "4", "--out", str(out), "--json"]
    small = ["--set", "windows=4", "--set", "sweep_starts=1", "--set", "horizon=6"]
    assert main(["world", "trust", *words, *small]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert results["verdict"] in ("train", "shorten")
    assert results["safe_horizon"] == 6
    assert set(results["axes"]) == set(AXES)
    assert results["reasons"]
    assert json.loads((out / "trust.json").read_text("utf-8"))["axes"] == results["axes"]
    reader = Reader()
    reader.feed((out / "trust.html").read_text("utf-8"))
    assert reader.images >= 1


@pytest.mark.slow
def test_the_sweep_alone_measures_every_axis(recordings, capsys):
    words = ["--data", str(recordings["home"]), "--episodes", "2", "--json"]
    small = ["--set", "windows=6", "--set", "sweep_starts=1"]
    assert main(["world", "sweep", *words, *small]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert set(results["axes"]) == set(AXES)
    assert 0.5 < results["axes"]["dx"]["gain"] < 1.3
    assert results["at_rest"]["drift_m"] < 0.01


@pytest.mark.slow
def test_finetuning_on_episodes_reports_the_rest_and_the_home(recordings, tmp_path, capsys):
    words = ["world", "finetune", "--data", str(recordings["kitchen"]), "--json"]
    words += ["--replay", str(recordings["home"]), "--home", str(recordings["home"])]
    small = ["--set", "training.fit.steps=1", "--set", "training.frames=10", "--set", "episodes=2"]
    assert main([*words, *small, "--out", str(tmp_path / "ft")]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert set(results["held_out"]) == {"1", "5", "10"}
    assert set(results["held_out"]["10"]) == {"ours", "repeat_last", "before", "shuffled"}
    assert results["measured_on"] == 2
    assert abs(results["error_lowered"]) < 0.5
    assert (tmp_path / "ft" / "world.safetensors").exists()


def test_no_episode_left_to_measure_on_is_refused(recordings, tmp_path, capsys):
    words = ["world", "finetune", "--data", str(recordings["kitchen"])]
    words += ["--replay", str(recordings["home"]), "--out", str(tmp_path / "ft")]
    assert main(words) != 0
    assert "4 episodes, must be more than the 5 to train on" in capsys.readouterr().err
    assert not (tmp_path / "ft").exists()
