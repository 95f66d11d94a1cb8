"""The one training loop: schedule, finite checks, a clean stop."""

import json

import pytest
import torch
from torch import nn

from robot_agent.core.errors import TrainingDivergedError
from robot_agent.learn.fit import FitConfig, _schedule, fit


def quadratic(weight):
    def loss_of_step(_):
        loss = (weight - 3.0).square().sum()
        return loss, {"loss": float(loss.detach())}

    return loss_of_step


def make_weight(value=0.0):
    return nn.Parameter(torch.full((2,), value))


def test_a_quadratic_is_minimised():
    weight = make_weight()
    fit([weight], quadratic(weight), FitConfig(steps=300, learning_rate=0.1, weight_decay=0.0))
    assert (weight - 3.0).abs().max() < 0.05


def test_the_schedule_starts_above_zero_and_ends_at_its_fraction():
    config = FitConfig(steps=100, warmup_steps=10, final_fraction=0.1)
    rates = [_schedule(step, config) for step in range(100)]
    assert rates[0] == pytest.approx(0.1, rel=0.01)
    assert all(rate > 0 for rate in rates)
    assert max(rates) == pytest.approx(1.0, abs=0.03)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_raises_and_leaves_the_weights_of_the_last_good_step(value):
    weight = make_weight()
    kept = []

    def loss_of_step(step):
        kept.append(weight.detach().clone())
        factor = value if step == 3 else 1.0
        return (weight - 3.0).square().sum() * factor, {"loss": 0.0}

    with pytest.raises(TrainingDivergedError, match=r"step 3: loss=.*must be finite"):
        fit([weight], loss_of_step, FitConfig(steps=10))
    assert torch.equal(weight.detach(), kept[3])
    assert not torch.equal(kept[3], kept[0])


def test_a_gradient_that_is_not_finite_raises_though_the_loss_is_fine():
    weight = make_weight()

    def loss_of_step(_):
        return weight.abs().sqrt().sum(), {"loss": 0.0}  # infinite slope at zero

    with pytest.raises(TrainingDivergedError, match="gradient norm="):
        fit([weight], loss_of_step, FitConfig(steps=2))
    assert (weight == 0).all()


def test_ctrl_c_in_the_report_leaves_whole_finite_weights():
    weight = make_weight()

    def report(step, total, metrics):
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit([weight], quadratic(weight), FitConfig(steps=50), report=report)
    assert weight.isfinite().all()
    assert (weight > 0).all()


def test_time_that_is_up_stops_early():
    seen = []
    weight = make_weight()
    fit(
        [weight],
        quadratic(weight),
        FitConfig(steps=50),
        report=lambda step, *_: seen.append(step),
        max_seconds=0.0,
    )
    assert seen == [1]


def test_stopping_on_the_way_down_equals_the_same_steps_of_the_whole_schedule():
    whole, part, seen = make_weight(), make_weight(), []
    fit(
        [whole],
        quadratic(whole),
        FitConfig(steps=20),
        report=lambda *_: seen.append(whole.detach().clone()),
    )
    fit([part], quadratic(part), FitConfig(steps=20, stop_after=7))
    assert torch.equal(part.detach(), seen[6])


def test_the_log_is_one_json_line_per_twenty_steps(tmp_path):
    weight = make_weight()
    log = tmp_path / "fit.jsonl"
    fit([weight], quadratic(weight), FitConfig(steps=41), log=log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 20, 40]
    assert lines[-1]["loss"] < lines[0]["loss"]


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"learning_rate": -1.0}, {"stop_after": 2000}])
def test_a_schedule_outside_its_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FitConfig(**wrong)
