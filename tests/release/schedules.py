"""A robot in virtual time: the real slot, registry, weight services and guard; disks of paper."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.clock import wall_stamp
from robot_agent.core.errors import RobotAgentError
from robot_agent.core.types import Chunk
from robot_agent.guard.state import ResetRequest
from robot_agent.release import probation
from robot_agent.release.probation import ProbationConfig
from robot_agent.release.promotion import Promotion
from robot_agent.release.registry import Registry
from robot_agent.release.road import TAKEOVER, PromotionConfig, Stage
from robot_agent.release.shadow import ShadowConfig
from robot_agent.release.signing import save_keyring
from robot_agent.release.states import State
from robot_agent.release.waiver import sign_waiver
from robot_agent.release.weights import ReleaseWeights
from robot_agent.ros.policy_weights import WeightServices
from tests.guard.paper_arm import MS, PaperArm, make_action
from tests.release.bundles import KEYRING, OPERATOR, TRAINER

FACTORY, NOW = "v0001-00000001", wall_stamp()
CHUNK = 3
QUICK = PromotionConfig(
    shadow=ShadowConfig(min_observations=1, max_divergence=2.0),
    probation=ProbationConfig(worse_odds=0.01, false_roll_back=0.2, miss=0.2, max_pairs=3),
)
"""Short enough to be gone through in a schedule; a person approves."""


class PaperJournal:
    """Records in memory; what was appended survives a crash."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        return self.records

    def append(self, record: Any) -> None:
        self.records.append({**record, "at": NOW})


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
        self.skill = random_.choice([0.1, 0.9])
        self.journal, self.depot = PaperJournal(), PaperDepot()
        self.weights = ReleaseWeights(folder, lambda path: Tagged(path.name))
        self.registry: Registry = self.weights._registry
        self.registry._journal, self.registry._depot = self.journal, self.depot  # type: ignore[assignment]
        self.arm = PaperArm()
        self.num = 1
        self._add(FACTORY, State.GOOD, {"current": FACTORY, "previous": "", "factory": FACTORY})
        self.pending: list[tuple[str, Any]] = []
        self.is_running, self.acted, self.is_out = False, "", ""
        self.heard: set[str] = set()
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
        self.promotion = Promotion(self.weights, self.slot, QUICK)
        node = SimpleNamespace(
            create_service=lambda *_, **__: None, create_timer=lambda *_, **__: None
        )
        self.services = WeightServices(node)
        self.services.serve(self.weights, runner, self.promotion)
        self.pending, self.is_running, self.is_out = [], False, ""
        state = self.registry.releases().states[self.slot.active.version]
        self._require(state is State.GOOD, f"came back on {state}")

    def _swap_if_idle(self) -> bool:
        if self.is_running:
            return False
        self.slot.swap_at_boundary()
        return True

    def _require(self, holds: bool, words: str) -> None:
        if not holds:
            self.broken.append(words)

    # --- events ----------------------------------------------------------------------------------

    def act(self) -> None:
        """Execute the next action; begin an episode or a chunk when none is under way."""
        if not self.is_running:
            self.promotion.begin_episode()
            self.is_running, self.is_out = True, ""
        if not self.pending or self.slot.is_recalled:
            self._begin_chunk()
        version, action = self.pending.pop(0)
        self._require(version != self.is_out, "acted after a safety event")
        self.arm.now_ns += 180 * MS
        speed = self.promotion.progress.speed
        self._tick(self.arm.propose(action, weights_version=version, speed=speed))
        if self.arm.state.accepted_this_tick:
            self._require(self.arm.state.last_version == version, "another version was stamped")
        self.acted = version

    def _begin_chunk(self) -> None:
        policy = self.slot.swap_at_boundary()
        chunk = policy.act(None)
        releases = self.registry.releases()
        state, current = releases.states[policy.version], releases.current
        is_proving = releases.states[current] is State.PROBATION
        allowed = {current, releases.previous} if is_proving else {current}
        self._require(state in (State.PROBATION, State.GOOD), f"{state} began a chunk")
        self._require(policy.version in allowed, "acts, and is not current")
        is_slow = self.promotion.progress.speed == QUICK.probation.speed
        self._require(is_slow == is_proving, "full speed on probation, or none after it")
        self.promotion.add_latency(policy.version, 0.01)
        self.pending = [(chunk.weights_version, action) for action in chunk.actions]
        self._require(len({v for v, _ in self.pending}) == 1, "a chunk of two versions")
        candidate = self.promotion.candidate
        if candidate is not None:
            answer = candidate.act(None).actions
            versions = (policy.version, candidate.version)
            self.promotion.compare(versions, chunk.actions, answer, (0.01, 0.01))

    def end_episode(self) -> None:
        """Whoever ran it says how it went, or nothing."""
        if not self.is_running:
            return
        self.promotion.end_episode()
        self.slot.swap_at_boundary()
        self.is_running, self.pending = False, []
        chance = self.skill if self.acted == self.promotion.progress.version else 0.5
        outcome = "success" if self.random.random() < chance else "failure"
        outcome = self.random.choice([outcome] * 8 + ["abort", ""])
        if outcome:
            self.services._outcome(self.acted, outcome, "Ada")

    def new_candidate(self) -> None:
        self.num += 1
        self._add(f"v{self.num:04d}-{self.num:08d}", State.SANE)

    def promote(self) -> None:
        states = self.registry.releases().states
        fresh = [label for label, state in states.items() if state is State.SANE]
        self.services._promote(self.random.choice(fresh[-1:] or list(states)))

    def promote_by_waiver(self) -> None:
        """An operator signs, or somebody who may not."""
        label = self.random.choice(list(self.registry.releases().states))
        key = self.random.choice([OPERATOR, TRAINER])
        signature = sign_waiver(label, key)
        waiver = SimpleNamespace(skip_probation=True, key_id=key.key_id, signature=signature)
        was = self.registry.releases().states[label]
        done, words = self.services._promote(label, waiver)
        if key is TRAINER and was is not State.GOOD and done:
            self._require("acts already" in words, "a trainer skipped the probation")

    def approve(self) -> None:
        self.services._approve(self.promotion.progress.version, "Ada")

    def veto(self) -> None:
        """Another process writes a veto into the registry; the node looks, at the latest now."""
        label = self.random.choice(list(self.registry.releases().states))
        try:
            probation.veto(self.registry, label, "Ada", "I do not like it")
        except RobotAgentError as error:
            self._require("must be" in str(error), str(error))
        if self.is_running:
            self.promotion.follow()

    def roll_back(self) -> None:
        self.services._roll_back("a person said so")

    def settle(self) -> None:
        """The thread that writes a safety event down gets its turn."""
        self.promotion.settle()

    def _hear(self) -> None:
        """The policy node hears the guard; weights on probation that acted are out at once."""
        state, progress = self.arm.state, self.promotion.progress
        causes = [*state.latched, *state.hold_causes]
        is_operator = state.controller == "operator"
        if self.promotion.hear_guard(causes, is_operator=is_operator):
            self.is_out = progress.version
        elif is_operator and TAKEOVER not in self.heard and self.is_running:
            is_new = self.slot.active.version == progress.version and not self.slot.is_recalled
            proving = progress.stage in (Stage.PROBATION, Stage.PROVEN)
            self._require(not (proving and is_new), "a takeover was not heard")
        self.heard = {TAKEOVER} if is_operator else set()

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

    def crash(self) -> None:
        self._boot()

    def shut_down(self) -> None:
        self.promotion.close()
        self._boot()

    def shut_down_amid_a_promotion(self) -> None:
        """Killed after the journal was written and before the slot was offered anything."""
        states = self.registry.releases().states
        label = self.random.choice(list(states))
        try:
            self.weights.load(label)
            self.weights.activate(label, "")
        except RobotAgentError as error:
            self._require("must be" in str(error), str(error))
        self._boot()

    def _tick(self, proposal: Any = None, *, is_reset: bool = False, **inputs: Any) -> None:
        before = self.arm.state
        after = self.arm.tick(proposal, **inputs)
        self._hear()
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
        gained = [
            n
            for n, state in after.states.items()
            if state is State.GOOD and before.states.get(n) is not State.GOOD
        ]
        for label in gained:
            reason = after.reasons.get(label, "")
            is_earned = "approved by Ada" in reason or OPERATOR.key_id in reason
            self._require(is_earned, f"became GOOD by '{reason}'")
        dead = {n for n, state in before.states.items() if state is State.REJECTED}
        self._require(all(after.states[n] is State.REJECTED for n in dead), "rose from the dead")
        if name not in ("stop", "reset", "fault", "act", "take_over"):
            self._require(self.arm.state.latched == latched, "weights touched the latch")


EVENTS: dict[str, int] = {
    "act": 60, "end_episode": 40, "new_candidate": 4, "promote": 8, "promote_by_waiver": 1,
    "approve": 16, "veto": 1, "roll_back": 2, "settle": 3, "reject": 1, "stop": 1, "reset": 4,
    "take_over": 2, "fault": 1, "damage": 1, "shut_down": 1, "crash": 1,
    "shut_down_amid_a_promotion": 1,
}  # fmt: skip


def run_schedule(folder: Path, seed: int, length: int = 50) -> tuple[list[str], list[str]]:
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


def run_schedules(folder: Path, seeds: Iterable[int]) -> tuple[list[str], Counter[str]]:
    """Return what broke in many schedules, and how often each event came."""
    save_keyring(folder / "keyring.json", KEYRING)
    found: list[str] = []
    seen: Counter[str] = Counter()
    for seed in seeds:
        words, names = run_schedule(folder, seed)
        seen.update(names)
        found += words
    return found, seen
