"""A camera that moved, or that is another one, is noticed by its picture."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from robot_agent.act.view import load_reference, measure_shift, problem
from robot_agent.core.errors import CalibrationError
from robot_agent.sim.scenes import HOME
from robot_agent.sim.world import SimWorld

LIMIT_PX = 7.0


@pytest.fixture(scope="module")
def views() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The reference, and the same view after the arm has moved away."""
    world = SimWorld(HOME)
    world.reset(0)
    reference = world.render(640, 480)
    goal = world.joints_rad + np.array([0.4, 0.1, 0.1, 0.0, 0.1, 0.0])
    for _ in range(60):
        world.tick(goal, 0.0)
    live = world.render(640, 480)
    world.close()
    assert (live != reference).any(axis=2).mean() > 0.05
    yield reference, live


def moved(image: np.ndarray, shift_px: tuple[float, float], turn_deg: float = 0.0) -> np.ndarray:
    """The picture as a camera sees it that was moved, in other light and with grain."""
    motion = cv2.getRotationMatrix2D((320, 240), turn_deg, 1.0)
    motion[:, 2] += shift_px
    warped = cv2.warpAffine(image, motion, (640, 480), borderMode=cv2.BORDER_REFLECT)
    rng = np.random.default_rng(round(abs(shift_px[0]) * 7))
    grain = rng.normal(0.0, 3.0, image.shape)
    return np.clip(warped * rng.uniform(0.8, 1.2) + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("distance_px", [0, 1, 2, 4, 6, 8, 12, 20, 30, 40])
@pytest.mark.parametrize("direction_deg", [0, 60, 135, 250])
def test_a_shift_is_measured_and_noticed_from_eight_pixels_on(
    views: tuple[np.ndarray, np.ndarray], distance_px: int, direction_deg: int
) -> None:
    reference, live = views
    angle = np.radians(direction_deg)
    shift = (distance_px * np.cos(angle), distance_px * np.sin(angle))
    found = measure_shift(moved(live, shift), reference)
    assert found.moved_px == pytest.approx(distance_px, abs=0.9)
    is_noticed = bool(problem(found, LIMIT_PX))
    assert is_noticed == (distance_px >= 8)


@pytest.mark.parametrize("turn_deg", [-3.0, 2.0])
def test_a_turned_camera_is_noticed(views: tuple[np.ndarray, np.ndarray], turn_deg: float) -> None:
    text = problem(measure_shift(moved(views[1], (0, 0), turn_deg), views[0]), LIMIT_PX)
    assert "has moved by" in text


def test_the_arm_and_the_light_alone_are_no_motion(
    views: tuple[np.ndarray, np.ndarray],
) -> None:
    for gain in (0.6, 1.0, 1.3):
        live = np.clip(views[1] * gain, 0, 255).astype(np.uint8)
        assert problem(measure_shift(live, views[0]), LIMIT_PX) == ""


def test_swapped_red_and_blue_are_named(views: tuple[np.ndarray, np.ndarray]) -> None:
    text = problem(measure_shift(views[1][:, :, ::-1].copy(), views[0]), LIMIT_PX)
    assert "red and blue are swapped" in text
    assert "rgb8 or bgr8" in text


def test_another_view_is_not_taken_for_a_motion(views: tuple[np.ndarray, np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    for other in (rng.integers(0, 256, views[0].shape, np.uint8), np.full_like(views[0], 128)):
        assert "does not resemble" in problem(measure_shift(other, views[0]), LIMIT_PX)


def test_another_size_is_refused(views: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(CalibrationError, match=r"is 320x240, its reference 640x480"):
        measure_shift(views[1][::2, ::2].copy(), views[0])


def test_a_reference_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.png").write_text("not a picture")
    for name in ("missing.png", "no.png"):
        with pytest.raises(CalibrationError, match=r"no picture can be read there"):
            load_reference(tmp_path / name)
    cv2.imwrite(str(tmp_path / "yes.png"), np.dstack([np.full((4, 5), v) for v in (3, 2, 1)]))
    assert load_reference(tmp_path / "yes.png")[0, 0].tolist() == [1, 2, 3]
