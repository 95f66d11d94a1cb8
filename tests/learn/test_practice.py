"""A burst of practice: the same from the same seed, after a kill too, and over within a step."""

import dataclasses
import signal
import threading

import numpy as np
import pytest
import torch

from robot_agent.core.errors import ConfigError, TrainingDivergedError
from robot_agent.learn.anchor import Anchor
from robot_agent.learn.doubt import disagreement
from robot_agent.learn.grpo import GrpoConfig
from robot_agent.learn.held_out import HeldOutCheck
from robot_agent.learn.imagine import ImagineConfig, Start, imagine
from robot_agent.learn.practice import Burst, PracticeConfig, Safeguards, practise
from robot_agent.learn.starts import shares_of
from tests.contracts.worlds import CountingWorld, observations
from tests.learn.episodes import counting_episodes
from tests.learn.test_grpo import BanditJudge, is_unchanged, make_policy, snapshot_of

CONFIG = PracticeConfig(
    iterations=4,
    starts=3,
    group=4,
    min_groups=2,
    max_groups=2,
    imagine=ImagineConfig(chunks=1),
    grpo=GrpoConfig(epochs=1, minibatch=8, learning_rate=1e-3),
    save_every=1,
)


def starts(count=4):
    return [Start(seen, index % 2) for index, seen in enumerate(observations(count))]


def make_burst(policy, config=CONFIG, worlds=1, judge=None, **guards):
    made = [CountingWorld(strict=False) for _ in range(worlds)]
    judge = judge or BanditJudge(made[0])
    return Burst(policy, made, judge, starts(), config, seed=5, safeguards=Safeguards(**guards))


def test_the_same_seed_gives_the_same_curve_and_weights():
    policies = [make_policy(), make_policy()]
    curves = [make_burst(policy).run().curve for policy in policies]
    assert curves[0] == curves[1]
    assert len(curves[0]) == 4
    assert is_unchanged(policies[0], snapshot_of(policies[1]))


class KilledError(Exception):
    pass


OVERLAPPED = dataclasses.replace(CONFIG, overlap=True)


@pytest.mark.parametrize("config", [CONFIG, OVERLAPPED], ids=["in turn", "overlapped"])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_burst_that_was_killed_goes_on_to_the_same_curve_and_weights(tmp_path, after, config):
    straight = make_policy()
    wanted = make_burst(straight, config).run()

    def kill(step, total, metrics):
        if step == after + 1:
            raise KilledError  # after its update, before its checkpoint

    path = tmp_path / "practice.safetensors"
    with pytest.raises(KilledError):
        make_burst(make_policy(), config, checkpoint=path).run(kill)
    resumed, seen = make_policy(), []
    found = make_burst(resumed, config, checkpoint=path).run(lambda step, *_: seen.append(step))
    assert found.curve == wanted.curve
    assert is_unchanged(resumed, snapshot_of(straight))
    assert seen == list(range(after + 1, 5)), "finished iterations are not done again"


class PatientWorld(CountingWorld):
    """From its second batch on it waits until the weights that are trained have changed."""

    def __init__(self, policy):
        super().__init__(strict=False)
        self.policy, self.before = policy, snapshot_of(policy)
        self.batch, self.heard = 0, []

    def reset(self, observations):
        self.batch += 1
        return super().reset(observations)

    def step(self, actions_BA):
        if self.batch == 2 and not self.actions:
            waited = threading.Event()
            while is_unchanged(self.policy, self.before) and len(self.heard) < 500:
                self.heard.append(waited.wait(0.01))
        return super().step(actions_BA)


def test_the_trainer_learns_while_the_next_rollouts_are_imagined():
    policy = make_policy()
    world = PatientWorld(policy)
    burst = Burst(policy, [world], BanditJudge(world), starts(), OVERLAPPED, seed=5)
    curve = burst.run().curve
    assert len(world.heard) < 500, "the update came after the rollouts"
    assert "loss" not in curve[0]
    assert "loss" in curve[1]


def test_overlapped_rollouts_are_by_the_weights_before_the_update():
    policy, inside = make_policy(), []
    burst = make_burst(policy, dataclasses.replace(OVERLAPPED, iterations=2))
    learner = burst._learner
    update = learner.update
    learner.update = lambda batch, *rest: inside.append(batch.version) or update(batch, *rest)
    burst.run()
    assert inside == [0]
    waiting = burst._state.waiting.parts
    assert {part.version for part in waiting} == {0}, "imagined while version 1 came to be"
    with pytest.raises(ValueError, match="max_staleness=0 is outside"):
        dataclasses.replace(OVERLAPPED, grpo=GrpoConfig(max_staleness=0))


def test_a_burst_that_was_finished_is_not_practised_again(tmp_path):
    path, first = tmp_path / "p.safetensors", make_policy()
    wanted = make_burst(first, checkpoint=path).run()
    again, seen = make_policy(), []
    assert make_burst(again, checkpoint=path).run(lambda *_: seen.append(1)).curve == wanted.curve
    assert seen == []
    assert is_unchanged(again, snapshot_of(first))


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all"])
def test_a_checkpoint_that_is_none_is_not_used(tmp_path, content):
    path = tmp_path / "p.safetensors"
    path.write_bytes(content)
    assert len(make_burst(make_policy(), checkpoint=path).run().curve) == 4


def test_a_checkpoint_of_other_weights_or_another_configuration_is_not_used(tmp_path):
    path = tmp_path / "p.safetensors"
    make_burst(make_policy(), checkpoint=path).run()
    other = dataclasses.replace(CONFIG, iterations=3)
    for policy, config in ((make_policy(seed=1), CONFIG), (make_policy(), other)):
        seen = []
        make_burst(policy, config, checkpoint=path).run(lambda step, *_, s=seen: s.append(step))
        assert seen[0] == 1


def test_when_the_time_is_used_up_imagining_ends_within_a_step_with_whole_weights():
    policy, world = make_policy(), CountingWorld(strict=False)
    before = snapshot_of(policy)
    asked = []

    def is_over():
        asked.append(1)
        return len(asked) > 4  # once by the burst, then before each step

    result = practise(
        policy, [world], BanditJudge(world), starts(), CONFIG, seed=0, is_over=is_over
    )
    assert len(world.actions) == 3
    assert result.curve == []
    assert "time is used up" in result.stopped
    assert is_unchanged(policy, before)


def test_ctrl_c_ends_every_thread_within_a_step_with_whole_weights():
    policy = make_policy()
    before = snapshot_of(policy)
    worlds = [InterruptedWorld(), InterruptedWorld()]
    with pytest.raises(KeyboardInterrupt):
        Burst(policy, worlds, CalmJudge(), starts(), LONG, seed=0).run()
    assert all(len(world.actions) < 200 for world in worlds), "40 chunks of 5 were to come"
    assert is_unchanged(policy, before)


class InterruptedWorld(CountingWorld):
    """Ctrl-C comes during its third step; it waits until the main thread has heard of it."""

    def __init__(self):
        super().__init__(strict=False)

    def step(self, actions_BA):
        if len(self.actions) == 2:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        if len(self.actions) >= 2:
            threading.Event().wait(0.01)
        return super().step(actions_BA)


class CalmJudge:
    """Nothing ever succeeds; progress is the column of the picture."""

    def assess(self, first, images, instruction_ids):
        return np.zeros(len(images)), images[:, 0, 0, 0] / 255.0


LONG = dataclasses.replace(CONFIG, imagine=ImagineConfig(chunks=40))


class BrokenJudge(CalmJudge):
    def assess(self, first, images, instruction_ids):
        return np.zeros(len(images)), np.full(len(images), np.nan)


def test_a_judge_that_answers_nan_stops_practice_and_leaves_the_weights():
    policy = make_policy()
    before = snapshot_of(policy)
    with pytest.raises(TrainingDivergedError, match="rewards are not finite, must all be"):
        make_burst(policy, judge=BrokenJudge()).run()
    assert is_unchanged(policy, before)


class StubbornJudge:
    """Says the same of everything."""

    def __init__(self, success):
        self._success = success

    def assess(self, first, images, instruction_ids):
        return np.full(len(images), self._success), np.full(len(images), 0.5)


@pytest.mark.parametrize("success", [0.0, 0.5, 1.0])
def test_a_judge_that_always_says_the_same_changes_no_bit(success):
    policy = make_policy()
    before = snapshot_of(policy)
    result = make_burst(policy, judge=StubbornJudge(success)).run()
    assert [row["useful_chunks"] for row in result.curve] == [0.0] * 4
    assert is_unchanged(policy, before)


def test_many_instructions_share_an_iteration():
    drawn = []

    class Listening(CalmJudge):
        def assess(self, first, images, instruction_ids):
            drawn.append(set(instruction_ids.tolist()))
            return super().assess(first, images, instruction_ids)

    make_burst(make_policy(), judge=Listening()).run()
    assert all(seen == {0, 1} for seen in drawn)


def test_start_frames_that_do_not_divide_go_to_each_world_in_turn():
    assert [shares_of(3, 2, iteration) for iteration in (0, 1)] == [[2, 1], [1, 2]]


# ------------------------------------------------------------------------------------- safeguards


@pytest.mark.parametrize(("horizon", "steps"), [(None, 15), (12, 10), (5, 5), (2, 5), (90, 15)])
def test_rollouts_end_at_the_safe_horizon(horizon, steps):
    world = CountingWorld(strict=False)
    rollouts = imagine(
        world, make_policy(), CalmJudge(), starts(1),
        ImagineConfig(chunks=3, safe_horizon=horizon),
        group=2, version=0, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert len(world.actions) == steps
    assert rollouts.steps_B.tolist() == [steps, steps]
    assert rollouts.mask_BN.sum() == 2 * steps / 5


class BiasedJudge(CalmJudge):
    """Progress is 0.9 in the second world and 0.1 in the first."""

    def __init__(self, worlds):
        self._worlds = worlds

    def assess(self, first, images, instruction_ids):
        progress = 0.9 if images[0, 0, 0, 2] else 0.1
        return np.zeros(len(images)), np.full(len(images), progress)


class BlueWorld(CountingWorld):
    """Its pictures have blue."""

    def __init__(self):
        super().__init__(strict=False)

    def _frames(self):
        raise NotImplementedError

    def step(self, actions_BA):
        frames = super().step(actions_BA)
        frames[..., 2] = 255
        return frames


def test_disagreement_is_the_difference_of_best_progress_on_the_same_actions():
    plain, blue, policy = CountingWorld(strict=False), BlueWorld(), make_policy()
    judge, drawn = BiasedJudge([plain, blue]), starts(2)
    rollouts = imagine(
        plain, policy, judge, drawn, ImagineConfig(chunks=2),
        group=2, version=0, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert disagreement(blue, policy, judge, drawn, rollouts) == pytest.approx([0.8] * 4)
    assert np.array_equal(np.stack(blue.actions), np.stack(plain.actions))
    again = disagreement(CountingWorld(strict=False), policy, judge, drawn, rollouts)
    assert again == pytest.approx([0.0] * 4)


def test_rollouts_on_which_the_members_disagree_teach_nothing():
    worlds = [CountingWorld(strict=False), BlueWorld()]
    strict = dataclasses.replace(CONFIG, max_disagreement=0.5, starts=4)
    policy = make_policy()
    before = snapshot_of(policy)
    result = Burst(policy, worlds, BiasedJudge(worlds), starts(), strict, seed=0).run()
    assert all(row["useful_chunks"] == 0.0 for row in result.curve)
    assert is_unchanged(policy, before)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_disagreement": 0.5}, "max_disagreement=0.5 needs 2 members, there are 1"),
        ({"check_every": 2}, "check_every=2 needs a held-out judge and world"),
    ],
)
def test_a_safeguard_without_what_it_needs_is_refused(changes, told):
    with pytest.raises(ConfigError, match=told):
        make_burst(make_policy(), dataclasses.replace(CONFIG, **changes))


def test_practice_stops_when_the_held_out_judge_falls_while_practice_rises():
    check, best, later = HeldOutCheck(0.15), make_policy(), make_policy(seed=1)
    kept = snapshot_of(best)
    assert check.stops(0.3, 0.5, best) == ""
    assert check.stops(0.5, 0.4, later) == ""
    assert check.stops(0.2, 0.1, later) == "", "both fell: they agree"
    assert "fell from 0.50 to 0.30 while practice rose from 0.30 to 0.60" in check.stops(
        0.6, 0.3, later
    )
    assert is_unchanged(later, kept)


def test_a_held_out_judge_that_disagrees_ends_the_burst():
    world = CountingWorld(strict=False)
    falling = FallingJudge()
    config = dataclasses.replace(CONFIG, iterations=8, check_every=1, max_drop=0.2)
    policy = make_policy()
    result = Burst(
        policy, [world], RisingJudge(), starts(), config, seed=0,
        safeguards=Safeguards(held_out_world=CountingWorld(strict=False), held_out_judge=falling),
    ).run()  # fmt: skip
    assert "held-out success fell from 1.00 to 0.00" in result.stopped
    assert len(result.curve) < 8
    assert result.curve[0]["held_out"] == 1.0


class FallingJudge(CalmJudge):
    """Everything succeeds in the first look and nothing after it."""

    def __init__(self):
        self._calls = 0

    def assess(self, first, images, instruction_ids):
        self._calls += 1
        return np.full(len(images), float(self._calls <= 5)), np.zeros(len(images))


class RisingJudge(CalmJudge):
    """More and more of what is practised succeeds."""

    def __init__(self):
        self._calls = 0

    def assess(self, first, images, instruction_ids):
        self._calls += 1
        succeeds = np.arange(len(images)) < self._calls // 5
        return succeeds.astype(float), np.zeros(len(images))


# ------------------------------------------------------------------------------------------- grpo


def test_a_weight_on_divergence_needs_an_anchor():
    config = dataclasses.replace(CONFIG, grpo=GrpoConfig(kl=0.1))
    with pytest.raises(ValueError, match=r"kl=0.1, replay_kl=0.0: need an anchor"):
        make_burst(make_policy(), config)


@pytest.mark.parametrize("name", ["kl", "replay_kl"])
def test_a_divergence_keeps_practice_close_to_the_weights_before(name):
    moved = []
    for weight in (0.0, 20.0):
        policy = make_policy()
        anchor = Anchor(policy, counting_episodes(), batch=16)
        grpo = dataclasses.replace(CONFIG.grpo, learning_rate=3e-3, **{name: weight})
        config = dataclasses.replace(CONFIG, iterations=6, grpo=grpo)
        make_burst(policy, config, anchor=anchor).run()
        if name == "kl":
            images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
            found = anchor.divergence(policy, images, torch.zeros(8, dtype=torch.long))
        else:
            found = anchor.on_old_scenes(policy, torch.Generator().manual_seed(1))
        moved.append(float(found.detach()))
    assert moved[1] < 0.7 * moved[0]
