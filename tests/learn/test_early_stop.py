"""A run ends when held-out error no longer falls, and keeps the weights of its best look."""

import math

import numpy as np
import pytest
import torch

from robot_agent.core.errors import ConfigError, TrainingDivergedError
from robot_agent.learn.early_stop import EarlyStop, EarlyStopConfig
from robot_agent.learn.fit import FitConfig, fit
from robot_agent.learn.mixture import Mixture
from robot_agent.learn.training_checkpoint import Checkpoint, Keep
from robot_agent.learn.world_training import WorldTrainingConfig, train_world
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig
from tests.learn.episodes import counting_episodes, moving_dot

SMALL = TinyWorldConfig(channels=(8, 16, 16), condition=16)


class Number(torch.nn.Module):
    """One weight that training raises by about 1 each step."""

    def __init__(self):
        super().__init__()
        self.x = torch.nn.Parameter(torch.zeros(()))


def walk(error, *, every=1, patience=2, steps=20, keep=None, stop_at=None):
    number, seen = Number(), []
    config = EarlyStopConfig(every=every, patience=patience)
    early_stop = EarlyStop(number, lambda watched: error(float(watched.x.detach())), config)

    def report(step, _total, _metrics):
        seen.append(step)
        if step == stop_at:
            raise KeyboardInterrupt

    rng = np.random.default_rng(0)
    kept = {"number": number, "early_stop": early_stop}
    metrics = fit(
        number.parameters(),
        lambda step: (-number.x, {"loss": 0.0}),
        FitConfig(steps=steps, learning_rate=1.0, warmup_steps=0, schedule="constant",
                  weight_decay=0.0),
        report=report,
        checkpoint=None if keep is None else Checkpoint(keep, kept, rng),
        early_stop=early_stop,
    )  # fmt: skip
    return float(number.x.detach()), seen, metrics


def test_it_ends_after_its_patience_with_the_best_weights():
    best, seen, metrics = walk(lambda x: abs(x - 5.0))
    assert best == pytest.approx(5.0, abs=0.2)
    assert seen[-1] == 7
    assert metrics["held_out"] == pytest.approx(0.0, abs=0.2)


def test_a_run_that_gets_better_goes_to_its_end():
    best, seen, _ = walk(lambda x: -x)
    assert seen[-1] == 20
    assert best == pytest.approx(20.0, abs=0.5)


def test_the_last_weights_count_though_no_look_was_due():
    best, seen, _ = walk(lambda x: -x, every=8, steps=10)
    assert seen[-1] == 10
    assert best == pytest.approx(10.0, abs=0.3)


def test_a_run_that_was_cut_short_remembers_its_best(tmp_path):
    keep = Keep(tmp_path / "run", "order", every=1)
    straight = walk(lambda x: abs(x - 5.0), patience=3)
    with pytest.raises(KeyboardInterrupt):
        walk(lambda x: abs(x - 5.0), patience=3, keep=keep, stop_at=6)
    resumed = walk(lambda x: abs(x - 5.0), patience=3, keep=keep)
    assert resumed[0] == straight[0]
    assert resumed[1] == [7, 8]


def test_an_error_that_is_no_number_stops_the_run():
    with pytest.raises(TrainingDivergedError, match="step 1: held-out error nan"):
        walk(lambda _: math.nan)


def test_a_world_that_forgets_what_is_held_out_keeps_its_best_look():
    torch.manual_seed(0)
    world = TinyWorld(SMALL)
    still = counting_episodes(2, steps=6)
    config = WorldTrainingConfig(
        fit=FitConfig(steps=40, learning_rate=3e-2, warmup_steps=1),
        frames=4, unroll=(1,), stages=(1.0,),
        early_stop=EarlyStopConfig(every=2, patience=2, windows=4, steps=2),
    )  # fmt: skip
    seen = []
    mixture = Mixture((moving_dot(4),), (1.0,), (still,))
    metrics = train_world(world, mixture, config, 0, report=lambda step, *_: seen.append(step))
    assert len(seen) < 40
    assert metrics["held_out"] < 0.05


def test_nothing_to_look_at_is_refused():
    config = WorldTrainingConfig(
        fit=FitConfig(steps=1), early_stop=EarlyStopConfig(every=1), unroll=(1,), stages=(1.0,)
    )
    with pytest.raises(ConfigError, match=r"nothing is held out.*held_out\.episodes"):
        train_world(TinyWorld(SMALL), moving_dot(2), config, 0)
