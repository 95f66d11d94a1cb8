"""Makes an episode from what the topics say: picture t is what action t was taken from."""

import threading
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_agent.act.executor import PERIOD_NS
from robot_agent.act.observation import ObservationPairing
from robot_agent.calibrate.records import Seal
from robot_agent.core.errors import InputError, RobotAgentError
from robot_agent.core.types import FloatArray, ImageArray, Observation, Step
from robot_agent.store.episode_format import EpisodeStart
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.episode_writer import EpisodeWriter

_PATIENCE_NS = 1_000_000_000
"""How long a picture near an accepted action may take to come."""


@dataclass(frozen=True, eq=False)
class Accepted:
    """An action that the guard let through."""

    stamp_ns: int
    proposed: FloatArray
    sent: FloatArray
    weights_version: str
    controller: str
    changes: tuple[str, ...]


class StepRecorder:
    """One open episode at most. Methods may be called from any thread; a lock orders them."""

    def __init__(self, store: EpisodeStore, pairing: ObservationPairing) -> None:
        """Write to `store`; `pairing` receives pictures and joints from whoever listens."""
        self._store, self._pairing = store, pairing
        self._lock = threading.Lock()
        self._writer: EpisodeWriter | None = None
        self._pending: deque[Accepted] = deque()
        self._last_ns = 0
        self._final: Observation | None = None
        self._num_accepted, self._instruction = -1, ""
        self.problem = ""
        """Why the open episode stopped growing, or an empty text."""

    @property
    def episode_id(self) -> str:
        """Id of the open episode, or an empty text."""
        writer = self._writer
        return writer.episode_id if writer is not None else ""

    def start(self, instruction: str, scene: str, calibration: Seal | None = None) -> str:
        """Open an episode and return its id; `calibration` is stored with it.

        Raises:
            InputError: One is open already, or the instruction is empty.
            StorageError: The disk refused or has too little space.
        """
        if not instruction.strip():
            raise InputError("instruction is empty. Say what the robot is told to do.")
        with self._lock:
            if self._writer is not None:
                raise InputError(
                    f"episode {self._writer.episode_id} is open; end it first (episode/end)."
                )
            self._writer = self._store.open_episode(
                EpisodeStart(
                    instruction=instruction,
                    scene=scene,
                    calibration_hash="" if calibration is None else calibration.hash,
                    config={} if calibration is None else {"calibration": calibration.to_json()},
                )
            )
            self._instruction = instruction
            self._pending.clear()
            self._final, self.problem, self._last_ns = None, "", 0
            return self._writer.episode_id

    def on_guard(self, num_accepted: int, accepted: Accepted) -> None:
        """Hear of the newest accepted action; repeats of one report are ignored."""
        with self._lock:
            before, self._num_accepted = self._num_accepted, num_accepted
            is_new = before >= 0 and num_accepted > before
            if self._writer is None or not is_new or self.problem:
                return
            if num_accepted > before + 1:
                self.problem = f"{num_accepted - before - 1} reports of the guard were lost"
                return
            self._pending.append(accepted)
            self._last_ns, self._final = accepted.stamp_ns, None

    def hear_instruction(self, instruction: str) -> None:
        """Hear what the policy is told to do: what follows another instruction is left out."""
        with self._lock:
            if self._writer is not None and instruction not in ("", self._instruction):
                self.problem = self.problem or f"the instruction changed to '{instruction}'"

    def add_stream_image(self, image_hwc: ImageArray, stamp_ns: int) -> None:
        """Keep a picture between the steps, while an episode is open; encoded outside the lock."""
        writer = self._writer
        if writer is not None and not self.problem:
            self._add_stream(writer, stamp_ns, jpeg=writer.encode_stream(image_hwc))

    def add_stream_joints(self, message: bytes, stamp_ns: int) -> None:
        """Keep a serialised sensor_msgs/JointState, while an episode is open."""
        writer = self._writer
        if writer is not None and not self.problem:
            self._add_stream(writer, stamp_ns, joints=message)

    def _add_stream(
        self, writer: EpisodeWriter, stamp_ns: int, *, jpeg: bytes = b"", joints: bytes = b""
    ) -> None:
        with self._lock:
            if writer is not self._writer:
                return  # it ended meanwhile
            try:
                writer.add_stream(stamp_ns, jpeg=jpeg, joints=joints)
            except RobotAgentError as error:
                self.problem = str(error)

    def flush(self, now_ns: int) -> None:
        """Write the steps whose pictures have come; called when pictures come."""
        with self._lock:
            while self._writer is not None and self._pending and not self.problem:
                if not self._write_next(self._writer, now_ns):
                    break
            end_ns = self._last_ns + PERIOD_NS
            is_last = self._last_ns and not self._pending and self._final is None
            newest_ns = min(self._pairing.newest_stamp_ns(), self._pairing.newest_joints_ns())
            if is_last and newest_ns >= end_ns:
                self._final = self._pairing.nearest(now_ns, end_ns)

    def _write_next(self, writer: EpisodeWriter, now_ns: int) -> bool:
        accepted = self._pending[0]
        has_picture = self._pairing.newest_stamp_ns() >= accepted.stamp_ns
        has_joints = self._pairing.newest_joints_ns() >= accepted.stamp_ns
        if not (has_picture and has_joints):  # joints may wait behind pictures, and pictures late
            if now_ns - accepted.stamp_ns > _PATIENCE_NS:
                missing = "joint states came" if has_picture else "picture came"
                self.problem = f"no {missing} with an accepted action; is its node running?"
            return False
        observation = self._pairing.nearest(now_ns, accepted.stamp_ns)
        if observation is None:
            self.problem = "no joint states within 50 ms of the picture of an accepted action"
            return False
        self._pending.popleft()
        try:
            writer.add_step(
                Step(
                    observation=observation,
                    proposed=accepted.proposed,
                    sent=accepted.sent,
                    weights_version=accepted.weights_version,
                    controller=accepted.controller,
                    changes=accepted.changes,
                    accepted_ns=accepted.stamp_ns,
                )
            )
        except RobotAgentError as error:
            self.problem = str(error)
            return False
        return True

    def is_complete(self) -> bool:
        """Whether every accepted action and the picture after the last one are there."""
        with self._lock:
            return bool(self.problem) or not self._last_ns or self._final is not None

    def end(self, outcome: str, judged_by: str) -> tuple[str, Path, str]:
        """Make the episode visible; return its id, its folder and what went wrong meanwhile.

        Raises:
            InputError: None is open, it has no complete step, or the outcome is unknown.
            StorageError: The disk refused; nothing became visible.
        """
        with self._lock:
            writer = self._writer
            if writer is None:
                raise InputError("no episode is open; start one first (episode/start).")
            final = None if self.problem else self._final
            try:
                folder = writer.commit(outcome, judged_by, final, note=self.problem)
            except RobotAgentError as error:
                writer.discard()
                why = f" Before that: {self.problem}" if self.problem else ""
                raise type(error)(f"{error}{why}") from error
            finally:
                self._writer = None
                self._pending.clear()
            return writer.episode_id, folder, self.problem

    def discard(self) -> str:
        """Forget the open episode; return its id.

        Raises:
            InputError: None is open.
        """
        with self._lock:
            writer, self._writer = self._writer, None
            self._pending.clear()
        if writer is None:
            raise InputError("no episode is open; start one first (episode/start).")
        writer.discard()
        return writer.episode_id

    def close(self) -> None:
        """Forget an open episode, if there is one."""
        if self.episode_id:
            self.discard()


def action_of(values: "list[float]") -> FloatArray:
    """Return seven numbers of a message as an action; zeros when there are not seven."""
    action = np.array(values, np.float64)
    return action if action.shape == (7,) else np.zeros(7)
