"""The reader of a camera: it settles, judges, withholds, reconnects, and is never held up."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from robot_agent.act.camera_health import HealthConfig
from robot_agent.core.clock import Stopwatch, SystemClock
from robot_agent.core.errors import InputError
from robot_agent.core.types import Frame
from robot_agent.ros.camera_reader import CameraReader, ReaderConfig
from robot_agent.ros.contained import contained
from tests.ros.running import until
from tests.ros.software_camera import picture

SIZE_PX = (160, 120)
# Wide limits: a loaded machine is late and slow, which other tests are about.
HEALTH = HealthConfig(max_late_s=1.0, slow_below=0.1, stalling_below=0.0, clear_after_s=0.1)
CONFIG = ReaderConfig(
    size_px=SIZE_PX,
    hz=50.0,
    settle_pictures=3,
    health=HEALTH,
    first_picture_s=1.0,
    restart_after_s=0.2,
    start_timeout_s=0.5,
    stop_timeout_s=0.3,
    backoff_s=0.05,
    max_backoff_s=0.1,
    view_every_s=0.1,
)


class ScriptedCamera:
    """Sends a picture every 10 ms; tests change what it does while it runs."""

    def __init__(self) -> None:
        self.intrinsics, self.description, self.notes = np.eye(3), "scripted", ()
        self.image_of: Callable[[int], np.ndarray] = lambda number: picture(number, *SIZE_PX)
        self.is_unplugged, self.is_odd = threading.Event(), threading.Event()
        self.hangs = {name: threading.Event() for name in ("start", "stop")}
        self.let_go = threading.Event()
        self.calls: list[str] = []
        self.number, self._pause = 0, threading.Event()

    def start(self) -> None:
        self._call("start")
        if self.is_unplugged.is_set():
            raise InputError("camera '123' is not there; found: none.")

    def stop(self) -> None:
        self._call("stop")

    def reset(self) -> None:
        self._call("reset")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.hangs and self.hangs[name].is_set():
            self.let_go.wait()

    def read(self, timeout_s: float) -> Frame | None:
        if self.is_unplugged.is_set():
            self._pause.wait(timeout_s)
            return None
        self._pause.wait(0.01)
        self.number += 1
        if self.is_odd.is_set():
            self.is_odd.clear()
            raise InputError("encoding is 'mono8', must be rgb8 or bgr8.")
        return Frame(self.image_of(self.number), SystemClock().now_ns(), self.number)


class Running:
    """A camera, its reader, and what came of them."""

    def __init__(self, config: ReaderConfig = CONFIG) -> None:
        self.camera, self.seen, self.log = ScriptedCamera(), [], []  # type: ignore[var-annotated]
        self.reader = CameraReader(
            self.camera,
            SystemClock(),
            config,
            publish=self.seen.append,
            joints=lambda: None,
            log=self.log.append,
        )

    def wait_for_more(self) -> None:
        count = len(self.seen)
        until(lambda: len(self.seen) > count + 2, 5.0, "pictures")


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running()
    yield made
    made.camera.let_go.set()
    made.reader.close()


def test_pictures_are_handed_on_once_the_exposure_has_settled(running: Running) -> None:
    running.reader.open()
    running.wait_for_more()
    assert running.seen[0].number == CONFIG.settle_pictures + 1
    assert running.reader.status.state == "streaming"
    assert running.reader.status.trouble == ""
    running.reader.close()
    assert running.camera.calls == ["start", "stop"]
    assert running.reader.status.state == "stopped"


def test_an_unplugged_camera_is_said_and_found_again(running: Running) -> None:
    running.reader.open()
    running.wait_for_more()
    running.camera.is_unplugged.set()
    until(lambda: "not there" in running.reader.status.trouble, 5.0, "the trouble")
    assert any("no picture for" in line for line in running.log)
    until(lambda: "reset" in running.camera.calls, 5.0, "a reset of the device")
    running.camera.is_unplugged.clear()
    running.wait_for_more()
    status = running.reader.status
    assert status.restarts == 1
    assert status.trouble == ""
    assert running.camera.calls.index("reset") > 2, "starting is tried twice before a reset"


def test_a_stop_that_hangs_keeps_neither_the_stream_nor_the_end_up(running: Running) -> None:
    running.reader.open()
    running.wait_for_more()
    running.camera.hangs["stop"].set()
    running.camera.is_unplugged.set()
    until(lambda: any("hangs" in line for line in running.log), 5.0, "the hang")
    running.camera.is_unplugged.clear()
    running.wait_for_more()
    watch = Stopwatch()
    running.reader.close()
    assert watch.seconds() < 2.0
    assert "Unplug the camera" in running.log[-1]


def test_a_start_that_hangs_is_refused_in_time(running: Running) -> None:
    running.camera.hangs["start"].set()
    watch = Stopwatch()
    with pytest.raises(InputError, match=r"start of the camera: hangs for 0.5 s"):
        running.reader.open()
    assert watch.seconds() < 2.0


def test_no_camera_is_refused(running: Running) -> None:
    running.camera.is_unplugged.set()
    with pytest.raises(InputError, match=r"camera '123' is not there"):
        running.reader.open()


def test_a_camera_that_sends_nothing_is_refused(running: Running) -> None:
    running.reader.camera.read = lambda timeout_s: None  # type: ignore[method-assign]
    with pytest.raises(InputError, match=r"0 pictures within 1.1 s of the start.*Check the cable"):
        running.reader.open()


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (picture(0, 64, 48), r"a picture is 64x48, must be 160x120. Set width and height"),
        (np.zeros((120, 160, 3), np.uint8), r"dark: Switch on a light"),
        (np.full((120, 160, 3), 255, np.uint8), r"saturated: Shade the camera"),
    ],
)
def test_unfit_pictures_refuse_the_start(running: Running, image: np.ndarray, text: str) -> None:
    running.camera.image_of = lambda number: image
    with pytest.raises(InputError, match=text):
        running.reader.open()
    assert not running.seen


def test_a_picture_of_a_wrong_kind_is_refused_alone(running: Running) -> None:
    running.reader.open()
    running.wait_for_more()
    running.camera.is_odd.set()
    until(lambda: running.reader.status.refused == 1, 5.0, "the refusal")
    running.wait_for_more()
    assert any("mono8" in line for line in running.log)


def test_lost_frames_are_counted_by_their_numbers(running: Running) -> None:
    running.reader.open()
    running.wait_for_more()
    assert running.reader.status.lost == 0
    running.camera.number += 4
    running.wait_for_more()
    assert running.reader.status.lost == 4


def test_darkness_withholds_pictures_until_it_is_light_again(running: Running) -> None:
    running.reader.open()
    running.wait_for_more()
    light, running.camera.image_of = running.camera.image_of, lambda n: picture(n, *SIZE_PX) // 50
    until(lambda: "dark" in running.reader.status.trouble, 5.0, "the darkness")
    count = len(running.seen)
    until(lambda: running.reader.status.withheld > 10, 5.0, "withheld pictures")
    assert len(running.seen) == count
    running.camera.image_of = light
    running.wait_for_more()


# --------------------------------------------------------------------------------------- the view


def shapes(shift_px: int = 0) -> np.ndarray:
    """A view with edges in all directions, moved to the right."""
    rng, image = np.random.default_rng(3), np.full((120, 160, 3), 120, np.uint8)
    for _ in range(12):
        row, column = rng.integers(10, 100), rng.integers(20, 120)
        image[row : row + 12, column + shift_px : column + shift_px + 15] = rng.integers(0, 255, 3)
    return image


def seen_by(camera: ScriptedCamera, shift_px: int) -> None:
    grain = np.random.default_rng(0).integers(0, 4, (120, 160, 3), dtype=np.uint8)
    view = shapes(shift_px)
    camera.image_of = lambda number: view + np.roll(grain, number, axis=0)


@pytest.fixture
def watching() -> Iterator[Running]:
    made = Running(
        ReaderConfig(**{**CONFIG.__dict__, "reference_hwc": shapes(), "max_moved_px": 7.0})
    )
    seen_by(made.camera, 0)
    yield made
    made.reader.close()


def test_a_view_that_has_moved_refuses_the_start(watching: Running) -> None:
    seen_by(watching.camera, 8)
    with pytest.raises(
        InputError, match=r"moved by [78]\.\d px.*limit 7.0 px. Put the camera back"
    ):
        watching.reader.open()
    assert not watching.seen


def test_a_camera_that_is_knocked_withholds_until_it_is_put_back(watching: Running) -> None:
    watching.reader.open()
    watching.wait_for_more()
    assert watching.reader.status.moved_px == pytest.approx(0.0, abs=0.5)
    seen_by(watching.camera, 12)
    until(lambda: "has moved by" in watching.reader.status.trouble, 5.0, "the motion")
    count = len(watching.seen)
    until(lambda: watching.reader.status.withheld > 10, 5.0, "withheld pictures")
    assert len(watching.seen) == count
    seen_by(watching.camera, 0)
    watching.wait_for_more()


def test_what_contained_work_raises_is_raised() -> None:
    def fail() -> None:
        raise RuntimeError("device busy")

    with pytest.raises(RuntimeError, match="device busy"):
        contained(fail, 1.0, "work")
