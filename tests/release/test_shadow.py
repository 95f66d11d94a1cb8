"""In the shadow a candidate is compared on live observations, and every limit is named."""

import numpy as np
import pytest

from robot_agent.core.errors import InputError
from robot_agent.release.shadow import SCALE, Shadow, ShadowConfig

CONFIG = ShadowConfig(min_observations=50)


def chunks(rng, count=50, size=0.2):
    smooth = rng.normal(size=(count, 1, 7)) * size * SCALE
    made = smooth + rng.normal(size=(count, 5, 7)) * 0.02 * SCALE
    made[..., 6] = rng.random((count, 1)).round()
    return made


def compared(active, candidate, seconds=(0.01, 0.01)):
    shadow = Shadow(CONFIG)
    for ours, theirs in zip(active, candidate, strict=True):
        shadow.add(ours, theirs, seconds)
    return shadow


def test_a_candidate_near_the_active_weights_passes(rng):
    active = chunks(rng)
    near = active + rng.normal(size=active.shape) * 0.01 * SCALE * np.array([1.0] * 6 + [0.0])
    shadow = compared(active, near)
    assert shadow.is_complete
    report = shadow.report()
    assert report.passed, report.first_failure
    assert report.observations == 50


def flipped(active, rng):
    return active * np.array([-1] * 6 + [1.0])


def gripper_inverted(active, rng):
    return np.concatenate([active[..., :6], 1 - active[..., 6:]], axis=-1)


def trembling(active, rng):
    signs = np.array([1, -1, 1, -1, 1])[:, None]
    return active + signs * SCALE * np.array([0.3] * 6 + [0.0])


def beyond(active, rng):
    far = active.copy()
    far[::5, :, 0] = 1.2 * SCALE[0]
    return far


def not_finite(active, rng):
    return np.where(np.arange(7) == 2, np.nan, active)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda a, rng: 8 * flipped(a, rng), "divergence"),
        (gripper_inverted, "divergence"),
        (trembling, "smoothness"),
        (beyond, "limit hits"),
        (not_finite, "finite"),
    ],
)
def test_a_candidate_that_differs_too_much_is_kept_in_the_shadow(rng, change, name):
    active = chunks(rng)
    report = compared(active, change(active, rng)).report()
    assert not report.passed
    assert report.first_failure.name == name
    assert report.first_failure.value
    assert report.first_failure.limit


def test_a_slow_candidate_is_kept_in_the_shadow(rng):
    active = chunks(rng)
    report = compared(active, active, seconds=(0.010, 0.021)).report()
    assert report.first_failure.name == "shadow latency"


def test_too_few_observations_prove_nothing(rng):
    shadow = compared(chunks(rng, 49), chunks(rng, 49) * 0)
    assert not shadow.is_complete
    assert not shadow.report().passed
    same = chunks(rng, 49)
    assert compared(same, same).report().first_failure.name == "observations"
    assert not Shadow(CONFIG).report().passed


def test_one_answer_that_is_not_finite_needs_no_second(rng):
    active = chunks(rng, 1)
    shadow = compared(active, active * np.inf)
    assert shadow.is_complete
    assert shadow.report().first_failure.name == "finite"


def test_answers_of_another_shape_are_refused(rng):
    with pytest.raises(InputError, match="candidate"):
        Shadow(CONFIG).add(np.zeros((5, 7)), np.zeros((4, 7)))
