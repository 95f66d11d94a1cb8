"""Sample clips: real beside imagined, written whole, by the updates that were asked for."""

import numpy as np
import pytest
import torch

from robot_agent.learn.fit import FitConfig
from robot_agent.learn.mixture import Mixture
from robot_agent.learn.samples import beside, with_samples, write_clip
from robot_agent.learn.training_checkpoint import Keep
from robot_agent.learn.world_training import WorldTrainingConfig, train_world
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig
from robot_agent.store.video import read_video
from tests.learn.episodes import moving_dot


def clip(value, windows=2, frames=3, size=64):
    return np.full((windows, frames, size, size, 3), value, np.uint8)


def test_real_is_left_imagined_right_and_each_window_has_a_row():
    real = clip(200)
    real[1] = 100
    shown = beside(real, clip(10))
    assert shown.shape == (3, 256, 256, 3)
    assert (shown[:, :128, :128] == 200).all()
    assert (shown[:, 128:, :128] == 100).all()
    assert (shown[:, :, 128:] == 10).all()


def test_a_large_picture_is_not_enlarged():
    assert beside(clip(0, windows=1, size=256), clip(0, windows=1, size=256)).shape[1:3] == (
        256,
        512,
    )


def test_a_clip_is_a_video_and_nothing_is_left_beside_it(tmp_path):
    write_clip(tmp_path / "clips" / "a.mp4", beside(clip(200), clip(10)))
    assert [path.name for path in (tmp_path / "clips").iterdir()] == ["a.mp4"]
    assert read_video(tmp_path / "clips" / "a.mp4").shape == (3, 256, 256, 3)


def test_clips_come_every_so_many_updates_and_at_the_end(tmp_path):
    heard = []
    report = with_samples(
        lambda step, *_: heard.append(step), tmp_path, 4, lambda: beside(clip(1), clip(2))
    )
    for step in range(1, 11):
        report(step, 10, {})
    assert heard == list(range(1, 11))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000004.mp4",
        "000008.mp4",
        "000010.mp4",
    ]
    assert with_samples(print, None, 4, list) is print


@pytest.mark.parametrize("held_out", [True, False])
def test_a_world_in_training_shows_what_is_held_out_else_what_it_trains_on(tmp_path, held_out):
    torch.manual_seed(0)
    world = TinyWorld(TinyWorldConfig(channels=(8, 16, 16), condition=16))
    config = WorldTrainingConfig(fit=FitConfig(steps=2), frames=2, unroll=(1,), stages=(1.0,))
    dark, bright = moving_dot(2), moving_dot(2)
    bright.images_NTHWC[:] = 250
    mixture = Mixture((dark,), (1.0,), (bright,) if held_out else ())
    keep = Keep(tmp_path / "run", "order", every=1, clips=tmp_path / "clips")
    train_world(world, mixture, config, 0, keep=keep)
    shown = read_video(tmp_path / "clips" / "000002.mp4")
    assert (shown[:, :, :128].mean() > 200) == held_out
    assert len(shown) == 9
