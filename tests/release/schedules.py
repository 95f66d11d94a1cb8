"""A robot in virtual time: the real slot, registry, weight services and guard; disks of paper."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.errors import RobotAgentError
from robot_agent.core.types import Chunk
from robot_agent.guard.state import ResetRequest
from robot_agent.release.registry import Registry
from robot_agent.release.states import State
from robot_agent.ros.policy_weights import WeightServices
from robot_agent.ros.weights import ReleaseWeights
from tests.guard.paper_arm import MS, PaperArm, make_action

FACTORY = "v0001-00000001"
CHUNK = 5


class PaperJournal:
    """Records in memory; what was appended survives a crash."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        return self.records

    def append(self, record: Any) -> None:
        self.records.append({**record, "at": "20260101T000000"})


class PaperDepot:
    """Bundles by label, each sound until the disk damages it."""

    def __init__(self) -> None:
        self.damaged: set[str] = set()

    def load(self, label: str, manifest_hash: str) -> Any:
        return SimpleNamespace(label=label)

    def path(self, label: str) -> Path:
        return Path(label)

    def is_sound(self, label: str, hashes: Any) -> bool:
        return bool(label) and label not in self.damaged

    def first_sound(self, labels: Any, hashes: Any) -> str:
        return next((label for label in labels if self.is_sound(label, hashes)), "")


@dataclasses.dataclass(frozen=True)
class Tagged:
    """Writes its version into every chunk."""

    version: str

    def act(self, observation: Any) -> Chunk:
        step = 0.001 * (int(self.version[1:5]) % 10)
        return Chunk(np.tile(make_action(step), (CHUNK, 1)), self.version, 0, 0)


class Robot:
    """Everything between a promotion and the arm, one event at a time."""

    def __init__(self, folder: Path, random_: random.Random) -> None:
        self.random, self.folder = random_, folder
        self.journal, self.depot = PaperJournal(), PaperDepot()
        self.weights = ReleaseWeights(folder, lambda path: Tagged(path.name))
        self.registry: Registry = self.weights._registry
        self.registry._journal, self.registry._depot = self.journal, self.depot  # type: ignore[assignment]
        self.arm = PaperArm()
        self.num = 1
        self._add(FACTORY, State.GOOD, {"current": FACTORY, "previous": "", "factory": FACTORY})
        self.pending: list[tuple[str, Any]] = []
        self.broken: list[str] = []
        self._boot()

    def _add(self, label: str, state: State, slots: dict[str, str] | None = None) -> None:
        record = {"kind": "state", "label": label, "state": state.value, "version": self.num}
        record |= {"hash": label, "reason": ""}
        self.journal.append(record | ({"slots": slots} if slots else {}))

    def _boot(self) -> None:
        """Start the policy's process: it knows only what is on disk."""
        self.slot = PolicySlot(self.weights.boot())
        runner: Any = SimpleNamespace(slot=self.slot, swap_if_idle=self._swap_if_idle)
        self.services = WeightServices(SimpleNamespace(create_service=lambda *_, **__: None))
        self.services.serve(self.weights, runner)
        self.pending = []
        state = self.registry.releases().states[self.slot.active.version]
        self._require(state is State.GOOD, f"came back on {state}")

    def _swap_if_idle(self) -> bool:
        if self.pending:
            return False
        self.slot.swap_at_boundary()
        return True

    def _require(self, holds: bool, words: str) -> None:
        if not holds:
            self.broken.append(words)

    # --- events ----------------------------------------------------------------------------------

    def act(self) -> None:
        """Execute the next action; begin a chunk when none is under way."""
        if not self.pending:
            policy = self.slot.swap_at_boundary()
            chunk = policy.act(None)
            releases = self.registry.releases()
            state = releases.states[policy.version]
            self._require(state in (State.PROBATION, State.GOOD), f"{state} began a chunk")
            self._require(policy.version == releases.current, "acts, and is not current")
            self.pending = [(chunk.weights_version, action) for action in chunk.actions]
            self._require(len({v for v, _ in self.pending}) == 1, "a chunk of two versions")
        version, action = self.pending.pop(0)
        self.arm.now_ns += 180 * MS
        self._tick(self.arm.propose(action, weights_version=version))
        if self.arm.state.accepted_this_tick:
            self._require(self.arm.state.last_version == version, "another version was stamped")

    def new_candidate(self) -> None:
        self.num += 1
        self._add(f"v{self.num:04d}-{self.num:08d}", State.SANE)

    def promote(self) -> None:
        label = self.random.choice(list(self.registry.releases().states))
        self.services._promote(label)

    def roll_back(self) -> None:
        self.services._roll_back("a person said so")

    def prove(self) -> None:
        """An episode ended well: only what acts is proved."""
        if not self.pending:
            self.services._weights.prove(self.slot.active.version)  # type: ignore[union-attr]

    def reject(self) -> None:
        label = self.random.choice(list(self.registry.releases().states))
        try:
            self.registry.reject(label, "worse in the shadow")
        except RobotAgentError as error:
            self._require("must be" in str(error), str(error))

    def stop(self) -> None:
        self._tick(stop=True)

    def reset(self) -> None:
        for cause in self.arm.state.latched[:1]:
            self._tick(reset=ResetRequest("Ada", cause), is_reset=True)

    def take_over(self) -> None:
        self._tick(operator=self.arm.operate(0.002))
        self._require(self.arm.state.controller != "policy", "the operator was not obeyed")

    def fault(self) -> None:
        """The policy answers with what is no number: the guard holds or stops."""
        self._tick(self.arm.propose(make_action(float("nan"))))
        self._require(not self.arm.state.accepted_this_tick, "a NaN was accepted")

    def damage(self) -> None:
        """The disk damages a bundle; the factory release lies on another."""
        label = self.random.choice(list(self.registry.releases().states))
        if label != FACTORY:
            self.depot.damaged.add(label)

    def shut_down(self) -> None:
        self._boot()

    def shut_down_amid_a_promotion(self) -> None:
        """Killed after the journal was written and before the slot was offered anything."""
        states = self.registry.releases().states
        label = self.random.choice(list(states))
        try:
            self.weights.load(label)
            self.weights.activate(label)
        except RobotAgentError as error:
            self._require("must be" in str(error), str(error))
        self._boot()

    def _tick(self, proposal: Any = None, *, is_reset: bool = False, **inputs: Any) -> None:
        before = self.arm.state
        after = self.arm.tick(proposal, **inputs)
        if before.latched:
            still = np.array_equal(before.joint_target, after.joint_target)
            self._require(still or not after.latched, "moved while stopped")
            self._require(is_reset or set(before.latched) <= set(after.latched), "latch cleared")

    # --- schedules -------------------------------------------------------------------------------

    def check(self, before: Any, latched: tuple[str, ...], name: str) -> None:
        """Compare what must never change with how it was before the event."""
        after = self.registry.releases()
        probation = [n for n, state in after.states.items() if state is State.PROBATION]
        self._require(len(probation) <= 1, "two in probation")
        self._require(probation in ([], [after.current]), "in probation and not current")
        self._require(after.states.get(after.current) is not State.REJECTED, "rejected is current")
        self._require(after.min_version >= before.min_version, "the version floor fell")
        self._require(after.factory == FACTORY, "the factory release changed")
        dead = {n for n, state in before.states.items() if state is State.REJECTED}
        self._require(all(after.states[n] is State.REJECTED for n in dead), "rose from the dead")
        if name not in ("stop", "reset", "fault", "act", "take_over"):
            self._require(self.arm.state.latched == latched, "weights touched the latch")


EVENTS: dict[str, int] = {
    "act": 40, "new_candidate": 8, "promote": 14, "roll_back": 6, "prove": 6, "reject": 3,
    "stop": 3, "reset": 4, "take_over": 4, "fault": 2, "damage": 3, "shut_down": 3,
    "shut_down_amid_a_promotion": 3,
}  # fmt: skip


def run_schedule(folder: Path, seed: int, length: int = 25) -> tuple[list[str], list[str]]:
    """Return what broke in one random schedule, and the names of its events."""
    random_ = random.Random(seed)
    robot = Robot(folder, random_)
    names = random_.choices(list(EVENTS), list(EVENTS.values()), k=length)
    for index, name in enumerate(names):
        before, latched = robot.registry.releases(), robot.arm.state.latched
        event: Callable[[], None] = getattr(robot, name)
        event()
        robot.check(before, latched, name)
        if robot.broken:
            return [f"seed {seed}: {words}" for words in robot.broken], names[: index + 1]
    return [], names
