"""Each fault of a camera has its reaction within its time, and what is no fault has none."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_agent.act.camera_health import CameraHealth, HealthConfig, Reaction, Verdict
from robot_agent.act.observation import FrameHealth, PairingConfig
from robot_agent.act.picture_quality import measure
from robot_agent.core.types import Frame
from robot_agent.sim.scenes import HOME
from robot_agent.sim.world import SimWorld

MS = 1_000_000
PERIOD_S = 1 / 30
REST = np.zeros(6)
GRAIN = np.random.default_rng(0).integers(0, 4, (480, 640, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def views() -> Iterator[list[np.ndarray]]:
    """Rendered pictures 640x480 of different starts."""
    world = SimWorld(HOME)
    pictures = []
    for seed in range(6):
        world.reset(seed)
        pictures.append(world.render(640, 480))
    world.close()
    yield pictures


def exposed(image: np.ndarray, rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """As a sensor sees it: gain and grain."""
    grain = rng.normal(0.0, 2.0, image.shape)
    return np.clip(image * gain + grain, 0, 255).astype(np.uint8)


def blurred(image: np.ndarray, sigma_px: float) -> np.ndarray:
    return image if sigma_px == 0 else cv2.GaussianBlur(image, (0, 0), sigma_px)


class Stream:
    """Feeds a CameraHealth at 30 Hz; time and grain go on by themselves."""

    def __init__(self, **config: float) -> None:
        self.health = CameraHealth(HealthConfig(**config), PERIOD_S)
        self.now_ns, self.num_seen = 0, 0

    def look(
        self,
        image: np.ndarray,
        *,
        joints: np.ndarray = REST,
        age_ms: float = 10.0,
        period_s: float = PERIOD_S,
        is_replaced: bool = False,
        is_frozen: bool = False,
    ) -> Verdict:
        self.now_ns += round(period_s * 1e9)
        self.num_seen += 1
        shown = image
        if not is_frozen:
            grain = np.roll(GRAIN[: image.shape[0]], self.num_seen, axis=0)
            shown = cv2.add(image, grain)
        stamp_ns = self.now_ns - round(age_ms * MS)
        frame = Frame(shown, stamp_ns, 0, is_stamp_replaced=is_replaced)
        return self.health.look(frame, self.now_ns, joints)


# ------------------------------------------------------------------------------------- exposure


def order(image: np.ndarray) -> int:
    """-1 dark, 0 fit, 1 saturated."""
    causes = Stream().look(image, is_frozen=True).causes
    return ("saturated" in causes) - ("dark" in causes)


@settings(deadline=None, max_examples=25)
@given(
    mean=st.floats(40, 180),
    contrast=st.floats(5, 60),
    gains=st.lists(st.floats(0.0, 12.0), min_size=2, max_size=6),
    gamma=st.floats(0.4, 2.5),
)
def test_the_verdict_on_exposure_goes_one_way_when_gain_goes_up(
    mean: float, contrast: float, gains: list[float], gamma: float
) -> None:
    scene = np.random.default_rng(1).normal(mean, contrast, (48, 64, 3)).clip(0, 255)
    shaped = 255 * (scene / 255) ** gamma
    verdicts = [order((shaped * g).clip(0, 255).astype(np.uint8)) for g in sorted(gains)]
    assert verdicts == sorted(verdicts)


def test_black_ordinary_and_white_pictures_are_told_apart(views: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    gains = {0.02: -1, 0.5: 0, 1.0: 0, 1.3: 0, 8.0: 1}
    for view in views:
        assert {gain: order(exposed(view, rng, gain)) for gain in gains} == gains


def test_gamma_alone_reaches_both_ends(views: list[np.ndarray]) -> None:
    found = [
        order((255 * (views[0] / 255.0) ** gamma).astype(np.uint8)) for gamma in (40.0, 1.0, 0.02)
    ]
    assert found == [-1, 0, 1]


@pytest.mark.parametrize(("gain", "cause"), [(0.02, "dark"), (8.0, "saturated")])
def test_three_unfit_pictures_are_dropped_and_the_fourth_holds(
    views: list[np.ndarray], gain: float, cause: str
) -> None:
    stream = Stream()
    assert stream.look(views[0]).is_fit
    begun_ns = stream.now_ns
    bad = np.clip(views[0] * gain, 0, 255).astype(np.uint8)
    verdicts = [stream.look(bad) for _ in range(5)]
    assert [v.reaction for v in verdicts] == [Reaction.DROP] * 3 + [Reaction.HOLD] * 2
    assert all(v.causes == (cause,) for v in verdicts)
    assert (stream.now_ns - begun_ns) * 1e-9 < 0.2
    assert "light" in verdicts[-1].words() or "exposure" in verdicts[-1].words()


def test_a_hold_ends_after_a_second_without_a_fault(views: list[np.ndarray]) -> None:
    stream, black = Stream(), np.zeros_like(views[0])
    for _ in range(4):
        last = stream.look(black, is_frozen=True)
    assert last.reaction == Reaction.HOLD
    held_ns = stream.now_ns
    while (last := stream.look(views[0])).reaction == Reaction.HOLD:
        assert stream.now_ns - held_ns < 2e9
    assert (stream.now_ns - held_ns) * 1e-9 == pytest.approx(1.0, abs=2 * PERIOD_S)
    assert last.is_fit


def test_one_dark_picture_is_no_hold(views: list[np.ndarray]) -> None:
    stream = Stream()
    stream.look(views[0])
    assert stream.look(views[0] // 100).reaction == Reaction.DROP
    assert stream.look(views[0]).is_fit


# ----------------------------------------------------------------------------------------- blur


def test_sharpness_falls_with_every_step_of_blur(views: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    for view in views:
        ladder = [
            measure(exposed(blurred(view, s), rng)).sharpness for s in (0, 1, 1.5, 2, 3, 4, 6, 9)
        ]
        assert ladder == sorted(ladder, reverse=True)


def test_blur_is_told_from_gain_and_grain(views: list[np.ndarray]) -> None:
    """ROC of sharpness over that of the first pictures: blur of 3 px and more against none."""
    rng = np.random.default_rng(0)
    sharp, dull = [], []
    for view in views:
        usual = measure(exposed(view, rng)).sharpness
        for gain in (0.5, 0.8, 1.0, 1.2):
            sharp.append(measure(exposed(view, rng, gain)).sharpness / usual)
            dull += [
                measure(exposed(blurred(view, s), rng, gain)).sharpness / usual
                for s in (3.0, 4.0, 6.0)
            ]
    above = np.array(sharp)[:, None] > np.array(dull)[None, :]
    limit = HealthConfig().blurred_below
    assert above.mean() == 1.0, "area under the curve"
    assert np.mean(np.array(dull) < limit) >= 0.95
    assert np.mean(np.array(sharp) < limit) == 0.0


def test_a_smudged_lens_is_dropped_for_three_pictures_and_then_only_said(
    views: list[np.ndarray],
) -> None:
    stream = Stream()
    for _ in range(40):
        assert stream.look(views[0]).reaction == Reaction.NONE
    begun_ns = stream.now_ns
    verdicts = [stream.look(blurred(views[0], 3.5)) for _ in range(5)]
    assert [v.reaction for v in verdicts] == [Reaction.DROP] * 3 + [Reaction.NOTE] * 2
    assert verdicts[-1].causes == ("blurred",)
    assert "Clean the lens" in verdicts[-1].words()
    assert Stream().look(blurred(views[0], 3.5)).is_fit, "only against what it showed before"
    assert (stream.now_ns - begun_ns) * 1e-9 < 2.0


def test_a_camera_that_is_out_of_focus_from_the_start_is_seen(views: list[np.ndarray]) -> None:
    assert Stream().look(blurred(views[0], 9.0)).causes == ("blurred",)


# --------------------------------------------------------------------------------------- frozen


@settings(deadline=None, max_examples=50)
@given(steps=st.lists(st.tuples(st.booleans(), st.floats(-0.024, 0.024)), max_size=60))
def test_a_still_scene_with_a_resting_arm_is_no_frozen_camera(
    steps: list[tuple[bool, float]],
) -> None:
    health, shown = FrameHealth(PairingConfig()), 0
    for changes, joint_rad in steps:  # all within 0.05 rad of each other
        shown += changes
        health.look(np.full((48, 64, 3), shown, np.uint8), np.full(6, joint_rad))
        assert not health.is_frozen


@settings(deadline=None, max_examples=50)
@given(moves=st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=60))
def test_pictures_that_differ_are_no_frozen_camera_however_the_arm_moves(
    moves: list[float],
) -> None:
    health = FrameHealth(PairingConfig())
    for index, joint_rad in enumerate(moves):
        health.look(np.full((48, 64, 3), index, np.uint8), np.full(6, joint_rad))
        assert not health.is_frozen


def test_a_frozen_camera_holds_within_a_second_of_the_motion(views: list[np.ndarray]) -> None:
    stream = Stream()
    stream.look(views[0], is_frozen=True)
    for _ in range(30):
        assert stream.look(views[0], is_frozen=True).is_fit
    begun_ns = stream.now_ns
    while (verdict := stream.look(views[0], joints=REST + 0.06, is_frozen=True)).is_fit:
        assert stream.now_ns - begun_ns < 1e9
    assert verdict.causes == ("frozen",)
    assert verdict.reaction == Reaction.HOLD
    assert (stream.now_ns - begun_ns) * 1e-9 < 0.2


# ----------------------------------------------------------------------------------------- time


def test_a_rate_below_four_fifths_is_said_and_below_two_fifths_holds(
    views: list[np.ndarray],
) -> None:
    stream = Stream()
    for period_s, cause in ((1 / 25, ()), (1 / 20, ("slow",)), (1 / 10, ("stalling",))):
        for _ in range(60):
            verdict = stream.look(views[0], period_s=period_s)
        assert verdict.causes == cause
        assert verdict.rate_hz == pytest.approx(1 / period_s, rel=0.05)
    assert verdict.reaction == Reaction.HOLD
    assert "USB 3" in verdict.words()


def test_a_rate_that_falls_is_said_within_a_second(views: list[np.ndarray]) -> None:
    stream = Stream()
    for _ in range(30):
        stream.look(views[0])
    begun_ns = stream.now_ns
    while "slow" not in stream.look(views[0], period_s=1 / 15).causes:
        assert stream.now_ns - begun_ns < 1e9


@pytest.mark.parametrize(("fault", "cause"), [("late", "late"), ("clock", "clock")])
def test_five_pictures_with_a_bad_stamp_pass_and_the_sixth_holds(
    views: list[np.ndarray], fault: str, cause: str
) -> None:
    stream = Stream()
    stream.look(views[0])
    bad = {"age_ms": 150.0} if fault == "late" else {"is_replaced": True}
    verdicts = [stream.look(views[0], **bad) for _ in range(7)]  # type: ignore[arg-type]
    assert [v.reaction for v in verdicts] == [Reaction.NOTE] * 5 + [Reaction.HOLD] * 2
    assert all(v.causes == (cause,) for v in verdicts)


def test_a_stamp_in_the_future_counts_like_a_late_one(views: list[np.ndarray]) -> None:
    assert Stream().look(views[0], age_ms=-150.0).causes == ("late",)


def test_depth_without_a_single_distance_is_said_and_colour_goes_on(
    views: list[np.ndarray],
) -> None:
    health = CameraHealth(HealthConfig(), PERIOD_S)
    for depth_mm, cause in ((0, ("no_depth",)), (500, ())):
        depth = np.zeros((480, 640), np.uint16)
        depth[0, 0] = depth_mm
        verdict = health.look(Frame(views[0], 0, 0, depth_mm=depth), 0, REST)
        assert verdict.causes == cause
        assert verdict.is_fit


def test_silence_begins_after_two_and_a_half_periods(views: list[np.ndarray]) -> None:
    stream = Stream()
    assert stream.health.is_silent(0)
    stream.look(views[0])
    assert not stream.health.is_silent(stream.now_ns + round(2.4 * PERIOD_S * 1e9))
    assert stream.health.is_silent(stream.now_ns + round(2.6 * PERIOD_S * 1e9))


@pytest.mark.parametrize(
    ("name", "value"), [("dark_below", -1.0), ("blurred_below", 1.0), ("stalling_below", 0.9)]
)
def test_a_limit_outside_its_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        HealthConfig(**{name: value})
