"""Reads a camera in a thread: settles, judges, hands on what is fit, and reconnects."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from robot_agent.act import view
from robot_agent.act.camera_health import CameraHealth, HealthConfig, Reaction, Verdict
from robot_agent.act.picture_quality import measure
from robot_agent.core.errors import InputError, RobotAgentError
from robot_agent.core.protocols import Camera, Clock
from robot_agent.core.types import FloatArray, Frame, ImageArray
from robot_agent.ros.contained import contained

_DEVICE_ERRORS = (RobotAgentError, RuntimeError, OSError)
"""librealsense raises RuntimeError for everything."""


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """How to read."""

    size_px: tuple[int, int]
    """Width and height that every picture must have."""
    hz: float
    settle_pictures: int = 30
    """Pictures after a start that only let the exposure settle."""
    reference_hwc: ImageArray | None = None
    max_moved_px: float = 7.0
    view_every_s: float = 5.0
    """The view is compared with the reference so often."""
    health: HealthConfig = field(default_factory=HealthConfig)
    first_picture_s: float = 3.0
    restart_after_s: float = 1.0
    """A stream that is silent for so long is started again."""
    start_timeout_s: float = 10.0
    stop_timeout_s: float = 2.0
    backoff_s: float = 0.5
    """Wait after the first start that failed; doubles up to `max_backoff_s`."""
    max_backoff_s: float = 8.0


@dataclass(frozen=True)
class ReaderStatus:
    """What the reader has seen; replaced whole, so that any thread may look."""

    state: str = "stopped"
    """stopped, settling, streaming or silent."""
    frames: int = 0
    lost: int = 0
    """Gaps in the numbers of the frames."""
    withheld: int = 0
    """Pictures that were not fit to act on."""
    refused: int = 0
    """Pictures of a wrong kind."""
    restarts: int = 0
    newest_ns: int = 0
    verdict: Verdict | None = None
    moved_px: float | None = None
    trouble: str = ""
    """In words, what keeps pictures from being handed on."""


class CameraReader:
    """Owns one camera. `open` and `close` are called by one thread; `status` by any."""

    def __init__(
        self,
        camera: Camera,
        clock: Clock,
        config: ReaderConfig,
        *,
        publish: Callable[[Frame], None],
        joints: Callable[[], FloatArray | None],
        log: Callable[[str], None],
    ) -> None:
        """Hand fit pictures to `publish`; `joints` returns the newest measured joints."""
        self.camera, self._clock, self._config = camera, clock, config
        self._publish, self._joints, self._log = publish, joints, log
        self.status = ReaderStatus()
        self._health = self._new_health()
        self._settling = config.settle_pictures
        self._number: int | None = None
        self._seen_ns = self._viewed_ns = 0
        self._moved_in_a_row, self._view_problem = 0, ""
        self._stop, self._decided = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Start the camera and return when its first settled picture is found fit.

        Raises:
            InputError: No camera, a wrong one, no picture, one of a wrong kind, or a view that
                is not that of the reference; names the remedy.
        """
        config = self._config
        contained(self.camera.start, config.start_timeout_s, "start of the camera")
        self._stop.clear()
        self._decided.clear()
        self._begin_stream("settling")
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()
        limit_s = config.first_picture_s + 2 * config.settle_pictures / config.hz
        is_decided = self._decided.wait(limit_s)
        trouble = self.status.trouble
        if not is_decided or trouble:
            self.close()
            raise InputError(
                trouble
                or f"camera: {self.status.frames} pictures within {limit_s:.1f} s of the start, "
                f"must be more than {config.settle_pictures}. Check the cable, or what publishes."
            )

    def close(self) -> None:
        """Stop reading; a camera that hangs is left behind."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._config.stop_timeout_s + 2.0)
            self._thread = None
        self._note(state="stopped")

    # --- the reading thread ----------------------------------------------------------------------

    def _run(self) -> None:
        timeout_s = min(0.5, self._config.restart_after_s / 2)
        while not self._stop.is_set():
            try:
                frame = self.camera.read(timeout_s)
            except InputError as error:
                self._refuse(str(error))
                continue
            if frame is not None:
                self._take(frame)
                continue
            silent_s = (self._clock.now_ns() - self._seen_ns) * 1e-9
            if silent_s > self._config.restart_after_s and self._decided.is_set():
                self._log(f"camera: no picture for {silent_s:.1f} s; starting it again")
                self._reconnect()
        self._stop_camera()

    def _take(self, frame: Frame) -> None:
        arrival_ns = self._clock.now_ns()
        if self._number is not None and frame.number > self._number + 1:
            self._note(lost=self.status.lost + frame.number - self._number - 1)
        self._number, self._seen_ns = frame.number, arrival_ns
        self._note(frames=self.status.frames + 1, newest_ns=frame.stamp_ns)
        height, width = frame.image_hwc.shape[:2]
        if (width, height) != self._config.size_px:
            self._refuse(
                f"camera: a picture is {width}x{height}, must be {self._config.size_px[0]}x"
                f"{self._config.size_px[1]}. Set width and height, or the camera's profile."
            )
        elif self._settling > 0:
            self._settling -= 1
        else:
            self._judge(frame, arrival_ns)

    def _judge(self, frame: Frame, arrival_ns: int) -> None:
        self._compare_view(frame, arrival_ns)
        verdict = self._health.look(frame, arrival_ns, self._joints())
        trouble = ""
        if verdict.is_fit:
            self._publish(frame)
        else:
            trouble = self._view_problem or verdict.words() or "waiting until all is well again"
            self._note(withheld=self.status.withheld + 1)
        if trouble and trouble != self.status.trouble:
            self._log(f"camera: pictures are withheld: {trouble}")
        self._note(state="streaming", verdict=verdict, trouble=trouble)
        if verdict.reaction != Reaction.DROP:  # that may pass with the next picture
            self._decided.set()

    def _compare_view(self, frame: Frame, arrival_ns: int) -> None:
        """Compare with the reference now and then: what was seen twice in a row is believed.

        The first picture of a stream is believed at once: nothing moves while it starts.
        """
        config, is_first = self._config, self._viewed_ns == 0
        is_due = arrival_ns - self._viewed_ns > config.view_every_s * 1e9
        if config.reference_hwc is None or not is_due:
            return
        self._viewed_ns = arrival_ns
        shift = view.measure_shift(frame.image_hwc, config.reference_hwc)
        problem = view.problem(shift, config.max_moved_px)
        self._moved_in_a_row = self._moved_in_a_row + 1 if problem else 0
        self._health.has_moved = self._moved_in_a_row > (0 if is_first else 1)
        self._view_problem = problem if self._health.has_moved else ""
        self._note(moved_px=shift.moved_px)

    def _refuse(self, why: str) -> None:
        if why != self.status.trouble:
            self._log(why)
        self._note(refused=self.status.refused + 1, trouble=why)
        self._decided.set()

    # --- starting again --------------------------------------------------------------------------

    def _reconnect(self) -> None:
        """Stop, and start until it works; from the second failure on reset the device first."""
        config, failures = self._config, 0
        self._note(state="silent", trouble="no picture")
        self._stop_camera()
        while not self._stop.is_set():
            try:
                if failures > 1:
                    contained(self.camera.reset, config.start_timeout_s, "reset of the camera")
                contained(self.camera.start, config.start_timeout_s, "start of the camera")
            except _DEVICE_ERRORS as error:
                self._log(f"{error} (attempt {failures + 1})")
                self._note(trouble=str(error))
                self._stop.wait(min(config.backoff_s * 2**failures, config.max_backoff_s))
                failures += 1
                continue
            self._note(restarts=self.status.restarts + 1)
            self._begin_stream("settling")
            return

    def _stop_camera(self) -> None:
        try:
            contained(self.camera.stop, self._config.stop_timeout_s, "stop of the camera")
        except _DEVICE_ERRORS as error:
            self._log(str(error))

    def _begin_stream(self, state: str) -> None:
        self._health, self._settling = self._new_health(), self._config.settle_pictures
        self._number, self._seen_ns, self._viewed_ns = None, self._clock.now_ns(), 0
        self._note(state=state, trouble="")

    def _new_health(self) -> CameraHealth:
        reference = self._config.reference_hwc
        sharpness = measure(reference).sharpness if reference is not None else None
        return CameraHealth(self._config.health, 1.0 / self._config.hz, sharpness)

    def _note(self, **changes: object) -> None:
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]
