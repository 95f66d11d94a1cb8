"""Judges invariants I1 to I10 from recorded topics alone; shares no code with the guard.

Kinematics come from `tests.guard.checker`, which walks along the URDF with numbers of its own.

    python -m tests.ros.invariants RECORDING.mcap       of `ros2 bag record` or of `save`
"""

import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.guard import checker

_LOWER = np.array([-3.1416, -1.885, -2.1468, -3.1416, -1.7454, -3.1416])
_UPPER = np.array([3.1416, 1.9897, 1.6058, 3.1416, 2.1468, 3.1416])
_BOX = np.array([[0.10, -0.25, 0.010], [0.48, 0.30, 0.35]])
_BODY = np.array([[-0.35, -0.45, 0.010], [0.60, 0.45, 0.70]])
_SLACK_M = 0.003
_SPEED_MPS = 0.25
_STEP_RAD = 0.3
TICK_S = 0.02
_REST_S = 0.6
"""After this long a stopped arm stands: deadline of the stop and the ramp of a profile."""
_RELEASE_M, _RELEASE_MPS, _RELEASE_S = 0.020, 0.050, 0.3
"""A person who holds the deadman and opens the gripper may let a stopped arm back off so far."""
_MOST_HZ = 75.0
"""One guard sends 50 commands a second; two that disagree send 100."""
STATE_FIELDS = ("latched", "causes", "changes", "accepted", "weights_version", "chunk_id")


@dataclass
class Recording:
    """Messages with the time [ns] at which they came."""

    commands: list[tuple[int, Any]] = field(default_factory=list)
    """Joint targets (6,) [rad]."""
    joints: list[tuple[int, Any]] = field(default_factory=list)
    """Measured joints (6,) [rad]."""
    states: list[tuple[int, Any]] = field(default_factory=list)
    """guard/state, with at least STATE_FIELDS."""
    operators: list[tuple[int, Any]] = field(default_factory=list)
    """`operator`, with `deadman` and `gripper`."""
    versions: list[tuple[int, str]] = field(default_factory=list)
    """policy/status: the version that acts."""
    num_publishers: list[int] = field(default_factory=list)
    """Publishers of commands, where somebody counted them."""
    episodes: list[str] = field(default_factory=list)
    """Episodes that were acknowledged, where somebody noted them."""

    def begin(self) -> None:
        """Forget everything."""
        for kept in (self.commands, self.joints, self.states, self.operators, self.versions):
            kept.clear()
        self.num_publishers.clear()
        self.episodes.clear()

    def last_motion_ns(self) -> int:
        """Return when the newest command that differs from the one before it came."""
        for (_, before), (stamp_ns, after) in zip(
            reversed(self.commands[:-1]), reversed(self.commands), strict=False
        ):
            if not np.array_equal(before, after):
                return stamp_ns
        return 0

    def peak_speed_mps(self) -> float:
        """Return the fastest point of the arm over 60 ms, from believable joint states."""
        good = [(t, q) for t, q in self.joints if q.any() and abs(q[0] + np.pi) > 0.01]
        return _peak_mps(np.array([t for t, _ in good]) * 1e-9, np.array([q for _, q in good]))

    def faults(
        self, *, is_measured_true: bool = True, kept: Collection[str] | None = None
    ) -> list[str]:
        """Return one line per broken invariant.

        Args:
            is_measured_true: Whether the encoders told the truth; speeds are judged only then.
            kept: Episodes and versions found in store and registry afterwards; None: not looked.
        """
        stamps = np.array([t for t, _ in self.commands]) * 1e-9
        goals = np.array([q for _, q in self.commands]).reshape(-1, 6)
        found = self._of_commands(stamps, goals)
        found += self._while_latched(stamps, goals)
        found += self._publishers(stamps)
        found += self._versions()
        found += self._gaps(stamps)
        if is_measured_true:
            found += self._speeds()
        if kept is not None:
            acted = {version for _, version in self.versions if version}
            lost = (acted | set(self.episodes)) - set(kept)
            found += [f"I10: lost {', '.join(sorted(lost))}"] if lost else []
        return found

    def _of_commands(self, stamps: Any, goals: Any) -> list[str]:
        found = []
        if not np.isfinite(goals).all():
            found.append("I1: a command is not finite")
        if ((goals < _LOWER) | (goals > _UPPER)).any():
            found.append("I2: a command is outside the joint limits")
        stopped_ns = next((t for t, s in self.states if s.latched), 2**62)
        free = goals[stamps < stopped_ns * 1e-9]  # a stop relaxes the target to where the arm is
        if np.abs(np.diff(free, axis=0)).max(initial=0.0) > _STEP_RAD + 1e-6:
            found.append("I3: a command steps farther than allowed")
        for name, points in checker.points(goals).items():
            low, high = _BOX if name == "tool" else _BODY
            if ((points < low - _SLACK_M) | (points > high + _SLACK_M)).any():
                found.append(f"I4: {name} is commanded out of its box")
        return found

    def _while_latched(self, stamps: Any, goals: Any) -> list[str]:
        latched = [t for t, s in self.states if s.latched]
        if not latched:
            return []
        is_after = stamps > latched[0] * 1e-9 + 2 * TICK_S
        times, after = stamps[is_after], goals[is_after]
        moves = np.abs(np.diff(after, axis=0)).max(axis=1, initial=0.0) > 1e-6
        if not moves.any():
            return []
        asked = np.array([t for t, o in self.operators if o.deadman and o.gripper > 0.9]) * 1e-9
        ago = times[1:][moves][:, None] - asked[None]
        is_asked = ((ago > -TICK_S) & (ago < _RELEASE_S)).any(axis=1).all()
        places = checker.points(after).values()
        way_m = max(float(np.linalg.norm(p - p[0], axis=1).max()) for p in places)
        if is_asked and way_m <= _RELEASE_M and _peak_mps(times, after) <= _RELEASE_MPS:
            return []
        return ["I5: a motion was commanded while latched"]

    def _publishers(self, stamps: Any) -> list[str]:
        if set(self.num_publishers) - {1}:
            return [f"I6: {set(self.num_publishers)} publishers of commands"]
        whole_s = stamps[-1] - stamps[0] if len(stamps) > 1 else 0.0
        windows = np.searchsorted(stamps, stamps + 1.0) - np.arange(len(stamps))
        most = int(windows.max(initial=0)) if whole_s >= 1.0 else 0
        return [f"I6: {most} commands in a second, of one guard 50"] if most > _MOST_HZ else []

    def _versions(self) -> list[str]:
        by_chunk: dict[int, set[str]] = {}
        found = []
        for _, state in self.states:
            if state.accepted and not state.weights_version:
                found = ["I7: a command without a version"]
            if state.chunk_id:
                by_chunk.setdefault(int(state.chunk_id), set()).add(state.weights_version)
        mixed = [chunk for chunk, versions in by_chunk.items() if len(versions) > 1]
        return found + ([f"I7: chunk {mixed[0]} mixes versions"] if mixed else [])

    def _gaps(self, stamps: Any) -> list[str]:
        gaps = np.diff(stamps)
        # A busy machine delays the driver's 100 Hz as well; a guard at fault delays its own only.
        busy_s = 0.0
        if len(self.joints) > 1:
            busy_s = np.quantile(np.diff([t for t, _ in self.joints]), 0.98) * 1e-9 - 0.01
        if len(gaps) and np.quantile(gaps, 0.95) > 2.0 * TICK_S + 3.0 * max(busy_s, 0.005):
            return [f"I8: gaps between commands of {np.quantile(gaps, 0.95):.3f} s"]
        return []

    def _speeds(self) -> list[str]:
        found = []
        if self.peak_speed_mps() > _SPEED_MPS:
            found.append(f"I3: a point moved at {self.peak_speed_mps():.3f} m/s")
        latched = [t for t, s in self.states if s.latched]
        late = [q for t, q in self.joints if latched and t > latched[0] + _REST_S * 1e9]
        is_released = any(o.deadman and o.gripper > 0.9 for _, o in self.operators)
        if len(late) > 1 and np.abs(np.array(late) - late[0]).max() > 0.02 and not is_released:
            found.append("I9: the arm moved on after the stop")
        return found


def _peak_mps(stamps: Any, joints: Any) -> float:
    """Return the fastest point over 60 ms."""
    if len(joints) < 2:
        return 0.0
    places = checker.points(joints)
    later = np.searchsorted(stamps, stamps + 0.06)
    now = np.flatnonzero(later < len(stamps))
    later = later[now]
    span_s = stamps[later] - stamps[now]
    is_whole = span_s < 0.09
    return float(
        max(
            (np.linalg.norm(p[later] - p[now], axis=1) / span_s)[is_whole].max(initial=0.0)
            for p in places.values()
        )
    )


# --- recordings as files -------------------------------------------------------------------------

_SCHEMAS = {
    "commands/joint_group": (
        "interbotix_xs_msgs/msg/JointGroupCommand",
        "string name\nfloat32[] cmd",
    ),
    "joint_states": ("sensor_msgs/msg/JointState", "string[] name\nfloat64[] position"),
    "guard/state": (
        "robot_agent_interfaces/msg/GuardState",
        "int64 stamp_ns\nbool latched\nstring[] causes\nstring[] changes\nuint64 accepted\n"
        "string weights_version\nuint64 chunk_id",
    ),
    "operator": ("robot_agent_interfaces/msg/OperatorCommand", "bool deadman\nfloat64 gripper"),
    "policy/status": ("robot_agent_interfaces/msg/PolicyStatus", "string active_version"),
}


def save(recording: Recording, path: Path) -> None:
    """Write a recording as MCAP, with the fields that are judged."""
    from mcap_ros2.writer import Writer

    rows: list[tuple[int, str, dict[str, Any]]] = []
    rows += [
        (t, "commands/joint_group", {"name": "arm", "cmd": q.tolist()})
        for t, q in recording.commands
    ]
    rows += [
        (t, "joint_states", {"name": [], "position": q.tolist()}) for t, q in recording.joints
    ]
    rows += [
        (t, "guard/state", {"stamp_ns": t} | {name: getattr(s, name) for name in STATE_FIELDS})
        for t, s in recording.states
    ]
    rows += [
        (t, "operator", {"deadman": o.deadman, "gripper": o.gripper})
        for t, o in recording.operators
    ]
    rows += [(t, "policy/status", {"active_version": v}) for t, v in recording.versions]
    with path.open("wb") as file:
        writer = Writer(file)
        known = {topic: writer.register_msgdef(*parts) for topic, parts in _SCHEMAS.items()}
        for t, topic, message in sorted(rows, key=lambda row: row[0]):
            writer.write_message(f"/wx250s/{topic}", known[topic], message, t, t)
        writer.finish()


def load(path: Path) -> Recording:
    """Return what `ros2 bag record -s mcap` or `save` wrote, whatever the robot's name."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    found = Recording()
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, raw, message in reader.iter_decoded_messages():
            _keep(found, channel.topic.split("/", 2)[-1], int(raw.log_time), message)
    return found


def _keep(found: Recording, topic: str, t: int, message: Any) -> None:
    match topic:
        case "commands/joint_group":
            found.commands.append((t, np.array(message.cmd, float)))
        case "joint_states":
            found.joints.append((t, np.array(message.position[:6], float)))
        case "guard/state":
            values = {name: getattr(message, name) for name in STATE_FIELDS}
            found.states.append((t, SimpleNamespace(**values)))
        case "operator":
            found.operators.append((t, message))
        case "policy/status":
            found.versions.append((t, str(message.active_version)))


if __name__ == "__main__":
    lines = load(Path(sys.argv[1])).faults()
    sys.stdout.write("\n".join(lines or ["every invariant holds"]) + "\n")
    raise SystemExit(1 if lines else 0)
