"""Action t leads from frame t to frame t + 1, in training and in imagination alike."""

import numpy as np
import pytest
import torch

from robot_agent.core.errors import InputError
from robot_agent.learn.dit_training import LatentEpisodes, draw_clips
from robot_agent.models.small_autoencoder import PixelAutoencoder
from robot_agent.models.worldgym.actions import ActionSlots, scaled_actions, slots_of_episodes
from robot_agent.models.worldgym.imagination import DitImagination, ImaginationConfig
from robot_agent.store.clips import columns_from_actions
from tests.contracts.worlds import counting_action, observations


def some_actions(*lead, seed=0):
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-0.06, 0.06, (*lead, 7))
    actions[..., 6] = rng.integers(0, 2, lead)
    return actions


def test_actions_are_scaled_as_the_clips_of_the_published_training_set():
    actions = some_actions(50)
    assert np.allclose(scaled_actions(actions), columns_from_actions(actions), atol=1e-6)
    five_cm = np.array([0.05, -0.05, 0.01, 0.25, -0.25, 0.1, 0.0])
    assert scaled_actions(five_cm) == pytest.approx(
        [1.74, -1.74, 0.35, 1.39, -1.39, 0.56, 1.0, 0.0, 0.0, 0.0]
    )


@pytest.mark.parametrize(("opening", "slot"), [(1.0, -1.0), (0.51, -1.0), (0.5, 1.0), (0.0, 1.0)])
def test_the_gripper_is_open_or_closed_as_in_training(opening, slot):
    action = np.zeros(7)
    action[6] = opening
    assert scaled_actions(action)[6] == slot


@pytest.mark.parametrize(
    ("actions", "words"),
    [(np.zeros((1, 2, 6)), r"expected float64\(any, any, 7\)|expected float64\(1, any, 7\)"),
     (np.full((1, 2, 7), np.nan), "not finite"),
     (np.full((1, 2, 7), 1.4), "largest component 1.40 is over 0.5 m or rad"),
     (np.zeros((2, 2, 7)), "expected")],
    ids=["six numbers", "NaN", "scaled already", "another batch"],
)  # fmt: skip
def test_actions_of_another_kind_are_refused(actions, words):
    with pytest.raises(InputError, match=words):
        ActionSlots(1).push(actions)


@pytest.mark.parametrize("latency", [0, 1, 2])
def test_chunks_pair_as_a_whole_episode_does(latency):
    actions = some_actions(2, 9)
    whole = slots_of_episodes(actions, latency)
    slots = ActionSlots(2, latency)
    parts = [slots.push(part) for part in np.split(actions, [1, 4, 5], axis=1)]
    assert whole.shape == (2, 10, 10)
    assert torch.equal(torch.cat(parts, dim=1), whole[:, 1:])
    assert (whole[:, : 1 + latency] == 0.0).all()
    rest = scaled_actions(actions)[:, : 9 - latency]
    assert torch.equal(whole[:, 1 + latency :], torch.from_numpy(rest))


class CountingSampler:
    """Latents that count their frames; slot t must hold the action that was chosen at t - 1."""

    def __init__(self, latency):
        self.latency, self.frame = latency, 0

    def reset(self, latents_BTCHW):
        self.shape, self.frame = latents_BTCHW.shape, 1

    def step(self, actions_BKA):
        frames = []
        for slot in actions_BKA.unbind(1):
            chosen_at = self.frame - 1 - self.latency
            wanted = chosen_at / 100 * 35.0 if chosen_at >= 0 else 0.0
            assert slot[:, 0].numpy() == pytest.approx(wanted, abs=1e-6), self.frame
            frames.append(torch.full((self.shape[0], *self.shape[2:]), self.frame / 100 * 4 - 2))
            self.frame += 1
        return torch.stack(frames, dim=1)

    def keep(self, rows):
        pass


def counting_imagination(latency=0, sampler_latency=None):
    sampler = CountingSampler(latency if sampler_latency is None else sampler_latency)
    config = ImaginationConfig(picture_px=16, latency_steps=latency)
    return DitImagination(sampler, PixelAutoencoder(), config)


@pytest.mark.parametrize("latency", [0, 1])
@pytest.mark.parametrize("chunk", [1, 2])
def test_a_counting_world_is_paired_right_in_imagination(latency, chunk):
    world = counting_imagination(latency)
    world.reset(observations(2))
    for start in range(0, 4, chunk):
        actions = np.stack([counting_action(t) for t in range(start, start + chunk)])
        frames = world.step_chunk(np.broadcast_to(actions, (2, chunk, 7)))
        counts = np.rint(frames[..., 0, 0, 0] / 2.55).astype(int)
        assert (counts == np.arange(start, start + chunk) + 1).all()


def test_an_action_of_another_frame_is_seen():
    world = counting_imagination(latency=0, sampler_latency=1)
    world.reset(observations(1))
    world.step(counting_action(0)[None])
    with pytest.raises(AssertionError):
        world.step(counting_action(1)[None])


def test_a_counting_world_is_paired_right_in_training():
    """Frame t shows t, and its slot holds the action chosen at t - 1: as in imagination."""
    actions = np.stack([counting_action(t) for t in range(5)])[None]
    frames = torch.arange(6.0).view(1, 6, 1, 1, 1).expand(1, 6, 1, 2, 2)
    episodes = LatentEpisodes(frames.half(), slots_of_episodes(actions))
    latents, slots = draw_clips(episodes, 20, 4, np.random.default_rng(0))
    shown = latents[:, 1:, 0, 0, 0]
    chosen_at = slots[:, 1:, 0] / 35.0 * 100
    assert torch.allclose(chosen_at, shown - 1, atol=1e-4)
    assert set(latents[:, 0, 0, 0, 0].tolist()) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("where", ["encode", "decode"])
def test_latents_that_are_not_numbers_are_refused(where):
    class Broken(CountingSampler):
        def step(self, actions_BKA):
            return super().step(actions_BKA) * torch.nan

    class NoPicture(PixelAutoencoder):
        def encode(self, images_BCHW):
            return super().encode(images_BCHW) * torch.nan

    config = ImaginationConfig(picture_px=16)
    autoencoder = NoPicture() if where == "encode" else PixelAutoencoder()
    world = DitImagination(Broken(0), autoencoder, config)
    with pytest.raises(InputError, match="1 of 1 hold numbers that are not finite"):
        world.reset(observations(1))
        world.step(counting_action(0)[None])
