"""Finetuning on clips: actions meet their frames, the rest stays unseen, errors are clear."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from robot_agent.core.errors import (
    BundleRejectedError,
    ConfigError,
    EpisodeFormatError,
    InputError,
)
from robot_agent.learn.clip_data import (
    NOMINAL_START,
    RealClip,
    delayed_actions,
    held_out_window,
    integrated_states,
    lag_correlations,
    of_another_clip,
    read_clips,
    training_episodes,
)
from robot_agent.learn.clip_scores import in_words, score, summary
from robot_agent.learn.clips import ClipFinetuneConfig, finetune_on_clips
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.world_training import WorldTrainingConfig
from robot_agent.models.scaling import scale_actions
from robot_agent.models.tiny_world import TinyWorld
from robot_agent.store.clips import Clip, save_clip

BRIDGE = Path(__file__).resolve().parents[3] / "shared" / "data" / "bridge"
FEW_STEPS = WorldTrainingConfig(
    fit=FitConfig(steps=3, warmup_steps=1), frames=6, unroll=(2,), stages=(1.0,)
)


@pytest.fixture
def bridge():
    if not BRIDGE.is_dir():
        pytest.fail(f"{BRIDGE} is missing: this test needs the Bridge clips beside the checkout")
    return BRIDGE


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder of weights like the shipped one, untrained."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    content = save(TinyWorld().state_dict())
    (folder / "w.safetensors").write_bytes(content)
    files = {"w": {"sha256": hashlib.sha256(content).hexdigest()}}
    (folder / "manifest.json").write_text(json.dumps({"files": files, "worlds": ["w"]}))
    return folder


def counted(name="000000001", frames=20, cut=14):
    """A clip in which frame t shows t, and action t is t millimetres along x."""
    images = np.broadcast_to(
        np.arange(frames, dtype=np.uint8)[:, None, None, None], (frames, 64, 64, 3)
    ).copy()
    actions = np.zeros((frames, 7))
    actions[:, 0], actions[:, 6] = np.arange(frames) * 1e-3, 1.0
    return RealClip(name, images, actions, cut)


def moving(name, frames=16, seed=0):
    """A clip to write: a bright square that moves as it is told."""
    rng = np.random.default_rng(seed)
    actions = np.zeros((frames, 7))
    actions[:, 0] = rng.uniform(-0.04, 0.04, frames)
    column = 20.0
    images = np.full((frames, 64, 64, 3), 60, np.uint8)
    for t in range(frames):
        left = int(np.clip(column, 0, 50))
        images[t, 20:34, left : left + 14] = 220
        column += 150 * actions[t, 0]
    return Clip(name, images, actions)


@pytest.fixture
def clips(tmp_path):
    for index in range(2):
        save_clip(tmp_path / "clips", moving(f"00000000{index}", seed=index))
    return tmp_path / "clips"


def test_windows_pair_each_picture_with_the_action_that_led_to_it():
    for lag in (0, 1, 2):
        window, names = held_out_window([counted()], lag, horizon=3)
        shown = (window.images_BTCHW[:, :, 0, 0, 0] * 255).round().int()
        assert shown[0].tolist() == [13, 14, 15, 16]  # begins at the last training picture
        assert shown[-1].tolist() == [16, 17, 18, 19]
        assert names == ["000000001"] * 4
        logged = np.zeros((4, 7))
        logged[:, 0], logged[:, 6] = np.arange(12 - lag, 16 - lag) * 1e-3, 1.0
        assert torch.allclose(window.actions_BTA[0], scale_actions(logged), atol=1e-6)
        steps = (window.states_BTP[0, 1:] - window.states_BTP[0, :-1])[:, 0] * 0.08
        assert steps.tolist() == pytest.approx(logged[1:, 0].tolist(), abs=1e-6)


def test_a_clip_without_room_for_the_horizon_gives_no_window():
    assert held_out_window([counted()], 0, horizon=7) is None
    window, names = held_out_window([counted(), counted("b", 40, 28)], 0, horizon=10)
    assert set(names) == {"b"}
    assert len(window.images_BTCHW) == 3


def test_training_sees_only_the_first_part():
    episodes = training_episodes([counted(), counted("b", 12, 8)], lag_steps=1)
    assert int(episodes.images_NTHWC.max()) == 13
    assert episodes.lengths_N.tolist() == [13, 7]
    rows = np.zeros((3, 7))
    rows[:, 0], rows[:, 6] = [0.0, 0.0, 1e-3], 1.0
    assert torch.allclose(episodes.actions_NTA[0, :3], scale_actions(rows), atol=1e-6)


def test_the_rest_of_the_clips_leaves_no_trace_in_the_weights(start):
    config = FEW_STEPS
    from robot_agent.learn.world_training import train_world

    found = []
    for tail in (0, 255):
        clip = counted()
        clip.frames[clip.cut :] = tail
        clip.actions[clip.cut :] = 0.05 * (tail > 0)
        torch.manual_seed(1)
        world = TinyWorld()
        train_world(world, training_episodes([clip], 1), config, seed=3)
        found.append((world.state_dict(), lag_correlations([clip])))
    assert found[0][1] == found[1][1]
    assert all(torch.equal(found[0][0][key], found[1][0][key]) for key in found[0][0])


def test_the_lag_is_found_on_the_first_part(rng):
    clips = []
    for name in "abc":
        actions = np.zeros((30, 7))
        actions[:, 1] = rng.uniform(0, 0.04, 30)
        images = np.zeros((30, 64, 64, 3), np.uint8)
        for t in range(2, 29):
            change = round(2000 * actions[t - 2, 1])
            images[t + 1] = images[t].astype(int) + (change if images[t].max() < 128 else -change)
        clips.append(RealClip(name, images, actions, 21))
    correlations = lag_correlations(clips)
    assert int(np.argmax(correlations)) == 2
    assert correlations[2] > 0.95
    assert lag_correlations([counted()])[0] == 0.0  # always the same change: nothing to go by


def test_states_are_the_sum_of_the_actions():
    actions = np.full((3, 7), 0.01)
    actions[:, 6] = [1.0, 1.0, 0.0]
    states = integrated_states(actions)
    assert states[0] == pytest.approx([*NOMINAL_START, 1.0])
    assert states[3] == pytest.approx([*(np.array(NOMINAL_START) + 0.03), 0.0])
    assert delayed_actions(actions, 1)[0] == pytest.approx([0.0] * 6 + [1.0])
    assert delayed_actions(actions, 0) == pytest.approx(actions)


def test_foreign_actions_come_from_another_clip(rng):
    names = ["a", "a", "b", "c"]
    index = of_another_clip(names, rng)
    assert all(names[i] != name for i, name in zip(index.tolist(), names, strict=True))
    assert of_another_clip(["a", "a"], rng).tolist() == [1, 0]


def test_scores_are_means_over_windows_and_missing_ones_are_said():
    torch.manual_seed(0)
    found = score(TinyWorld(), [counted()], 0, seed=0, as_before=False)
    assert len(found[1]["ours"]) == 6
    assert len(found[5]["ours"]) == 2
    assert found[10] == {}
    means = summary(found)
    # one grey level in 255 after one step
    assert means["1"]["repeat_last"] == pytest.approx(20 * np.log10(255), abs=1e-3)
    assert means["10"]["ours"] is None
    words = in_words({"10": means["10"]})
    assert words == ["after 10 steps: not measured, the rest of every clip is too short"]


def test_what_is_not_beaten_is_said_in_words():
    scores = {"ours": 25.0, "repeat_last": 26.5, "before": 20.0, "shuffled": 24.0}
    (words,) = in_words({"1": scores})
    assert "beats the weights before finetuning (20.00 dB, +5.00)" in words
    assert "does NOT beat repeating the last frame (26.50 dB, -1.50)" in words
    (words,) = in_words({"5": {**scores, "repeat_last": 24.9}})
    assert "NOT" not in words


def test_the_results_are_returned_and_saved_with_weights_that_changed(clips, start, tmp_path):
    seen, out = [], tmp_path / "out"
    config = ClipFinetuneConfig(training=FEW_STEPS, start=start)
    results = finetune_on_clips(
        clips, out, config, seed=1, report=lambda step, total, metrics: seen.append((step, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert set(results["held_out"]) == {"1", "5", "10"}
    assert set(results["held_out"]["1"]) == {"ours", "repeat_last", "before", "shuffled"}
    assert all(np.isfinite(v) for v in results["held_out"]["5"].values())
    assert results["held_out"]["10"]["ours"] is None
    assert set(results["per_clip"]) == {"000000000", "000000001"}
    assert results["frames"]["000000000"] == {"trained": 11, "all": 16}
    assert results["seconds"] > 0
    saved = json.loads((out / "finetune.json").read_text())
    content = (out / "world.safetensors").read_bytes()
    assert saved["weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert saved["held_out"] == results["held_out"]
    assert saved["config"]["training"]["fit"]["steps"] == 3
    tuned, before = load_file(out / "world.safetensors"), load_file(start / "w.safetensors")
    assert any(not torch.equal(tuned[key], before[key]) for key in before)
    world = TinyWorld()
    world.load_state_dict(before)
    own = score(world, read_clips(clips, 0.7), results["action_lag_steps"], 0, as_before=True)
    found = results["held_out"]["5"]
    assert found["before"] == pytest.approx(summary(own)["5"]["before"])
    assert found["ours"] != found["before"]
    assert sorted(p.name for p in out.iterdir()) == ["finetune.json", "world.safetensors"]


def test_ctrl_c_leaves_earlier_results_as_they_were(clips, start, tmp_path):
    (tmp_path / "world.safetensors").write_bytes(b"earlier")

    def interrupt(step, total, metrics):
        raise KeyboardInterrupt

    config = ClipFinetuneConfig(training=FEW_STEPS, start=start, action_lag_steps=1)
    with pytest.raises(KeyboardInterrupt):
        finetune_on_clips(clips, tmp_path, config, report=interrupt)
    assert (tmp_path / "world.safetensors").read_bytes() == b"earlier"
    assert not (tmp_path / "finetune.json").exists()


def test_folders_and_clips_that_cannot_be_used_are_named(clips, start, tmp_path):
    config = ClipFinetuneConfig(training=FEW_STEPS, start=start)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        finetune_on_clips(tmp_path / "nowhere", tmp_path, config)
    with pytest.raises(InputError, match="holds no clip"):
        finetune_on_clips(start, tmp_path, config)
    video = (clips / "000000001.mp4").read_bytes()
    (clips / "000000001.mp4").write_bytes(video[: len(video) // 2])
    with pytest.raises(EpisodeFormatError, match=r"000000001\.mp4: no readable video"):
        finetune_on_clips(clips, tmp_path, config)
    save_clip(clips, moving("000000001", frames=14))
    shutil.copy(clips / "000000000.npz", clips / "000000001.npz")
    with pytest.raises(EpisodeFormatError, match="14 frames and 16 rows of actions"):
        finetune_on_clips(clips, tmp_path, config)
    (clips / "000000001.npz").unlink()
    with pytest.raises(InputError, match=r"000000001\.mp4 has no 000000001\.npz"):
        finetune_on_clips(clips, tmp_path, config)
    save_clip(clips, moving("000000001", frames=9))
    with pytest.raises(InputError, match="9 frames, must be at least 10"):
        finetune_on_clips(clips, tmp_path, config)


def test_weights_that_are_missing_or_changed_are_named(clips, start, tmp_path):
    nothing = ClipFinetuneConfig(training=FEW_STEPS, start=tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"manifest\.json: cannot be read"):
        finetune_on_clips(clips, tmp_path, nothing)
    other = tmp_path / "other"
    shutil.copytree(start, other)
    content = bytearray((other / "w.safetensors").read_bytes())
    content[-1] ^= 1
    (other / "w.safetensors").write_bytes(content)
    with pytest.raises(BundleRejectedError, match="sha256"):
        finetune_on_clips(clips, tmp_path, ClipFinetuneConfig(training=FEW_STEPS, start=other))
    (other / "w.safetensors").unlink()
    with pytest.raises(ConfigError, match="no world model as its manifest tells"):
        finetune_on_clips(clips, tmp_path, ClipFinetuneConfig(training=FEW_STEPS, start=other))
    with pytest.raises(ValueError, match="action_lag_steps=9 is outside"):
        ClipFinetuneConfig(action_lag_steps=9)


def test_unrolls_longer_than_the_clips_are_refused(clips, start, tmp_path):
    long = WorldTrainingConfig(fit=FitConfig(steps=1), unroll=(11,), stages=(1.0,))
    with pytest.raises(InputError, match=r"longest has 10 steps.*at least 11"):
        finetune_on_clips(clips, tmp_path, ClipFinetuneConfig(training=long, start=start))


def test_pictures_of_the_real_clips_follow_the_log_by_one_or_two_steps(bridge):
    clips = read_clips(bridge, 0.7)
    assert len(clips) >= 7
    correlations = lag_correlations(clips)
    assert int(np.argmax(correlations)) in (1, 2)
    _, names = held_out_window(clips, 1, 10)
    assert len(set(names)) >= 4


@pytest.mark.slow
def test_a_short_finetune_on_real_clips_beats_its_start_and_foreign_actions(bridge, tmp_path):
    training = WorldTrainingConfig(
        fit=FitConfig(steps=40, learning_rate=5e-4, warmup_steps=5),
        frames=20,
        unroll=(5,),
        stages=(1.0,),
    )
    results = finetune_on_clips(bridge, tmp_path, ClipFinetuneConfig(training=training))
    for horizon in ("1", "5"):
        scores = results["held_out"][horizon]
        assert scores["ours"] > scores["before"], results["in_words"]
        assert scores["ours"] > scores["shuffled"], results["in_words"]
